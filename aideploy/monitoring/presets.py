"""What the metrics of serving software are called: four signals of each, as PromQL.

The rules, the dashboards and the analysis of a rollout ask `signals` and know no server by name.
Each expression has `$SELECTOR` where the label matchers belong and `$RANGE` where the window does;
`query` fills them in. Nothing is asked of anybody here.

Where a server has no such metric the signal is None, and what needs it is left out, never guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from aideploy.settings.monitoring import Monitoring, Preset

# Questions about health and metrics are no inference: they would hide errors among them.
_NOT_ASKED = "/?(healthz?|livez?|readyz?|metrics|ping)"
_TOTAL = re.compile(r"\bsum\(")
_TOTAL_BY_BUCKET = re.compile(r"\bsum by \(le\) \(")


@dataclass(frozen=True)
class Signals:
    """The PromQL of one kind of server, with `$SELECTOR` and `$RANGE` to fill in.

    Args:
        requests: how many requests were answered.
        errors: how many of them failed by the server's fault; None where it does not count them.
        latency_bucket: the histogram of the time they took, by `le`; None where it has only sums.
        latency_sum: that time in all.
        latency_count: over how many requests.
        latency_unit: how many seconds the unit of these three is.
        waiting: how many requests wait at this moment, or are at work where it counts no queue.
        prediction_bucket: the histogram of what was predicted, by `le`.
    """

    requests: str
    errors: str | None = None
    latency_bucket: str | None = None
    latency_sum: str | None = None
    latency_count: str | None = None
    latency_unit: float = 1.0
    waiting: str | None = None
    prediction_bucket: str | None = None


def preset(name: Preset | str) -> Signals:
    """Return the signals of this serving software.

    Raises:
        ValueError: there is no preset of this name.
    """
    return _PRESETS[Preset(name)]


def signals(monitoring: Monitoring) -> Signals:
    """Return the signals of the preset, with what `[monitoring.queries]` puts in their place.

    What is counted together is replaced together: own requests leave the errors of the preset
    behind, an own latency its other forms and its unit.
    """
    queries, found = monitoring.queries, preset(monitoring.preset)
    if queries.requests:
        # The errors of the preset are not among these requests.
        found = replace(found, requests=_counted(queries.requests), errors=None)
    if queries.errors:
        found = replace(found, errors=_counted(queries.errors))
    if queries.latency_bucket or queries.latency_sum or queries.latency_count:
        found = replace(
            found,
            latency_bucket=_bucketed(queries.latency_bucket) if queries.latency_bucket else None,
            latency_sum=_counted(queries.latency_sum) if queries.latency_sum else None,
            latency_count=_counted(queries.latency_count) if queries.latency_count else None,
            latency_unit=1.0,
        )
    if queries.latency_unit:
        found = replace(found, latency_unit=queries.latency_unit.total_seconds())
    if queries.waiting:
        found = replace(found, waiting=_now(queries.waiting))
    if queries.prediction_bucket:
        found = replace(found, prediction_bucket=_bucketed(queries.prediction_bucket))
    return found


def query(
    expression: str,
    *,
    selector: str,
    over: str = "5m",
    by: Sequence[str] = (),
    per_second: bool = False,
) -> str:
    """Fill an expression of `Signals` in.

    Args:
        expression: one of its fields.
        selector: label matchers without braces, as `app="ranker",env="production"`.
        over: the window, as a PromQL duration.
        by: labels to tell apart, besides `le`.
        per_second: a rate instead of the increase in the window.
    """
    if by:
        names = ", ".join(by)
        expression = _TOTAL.sub(f"sum by ({names}) (", expression)
        expression = _TOTAL_BY_BUCKET.sub(f"sum by ({names}, le) (", expression)
    if per_second:
        expression = expression.replace("(increase(", "(rate(")
    return expression.replace("$SELECTOR", selector).replace("$RANGE", over)


def _matched(series: str) -> str:
    """Return a series, as `requests_total{code=~"5.."}`, with room for more matchers."""
    if "{" not in series:
        return f"{series}{{$SELECTOR}}"
    head = series[:-1].rstrip(" ,")
    return f"{head}{'' if head.endswith('{') else ','}$SELECTOR}}"


def _counted(*series: str) -> str:
    return " + ".join(f"sum(increase({_matched(each)}[$RANGE]))" for each in series)


def _bucketed(series: str) -> str:
    return f"sum by (le) (increase({_matched(series)}[$RANGE]))"


def _now(series: str) -> str:
    return f"sum({_matched(series)})"


def _http(metric: str, label: str) -> str:
    return f'{metric}{{{label}!~"{_NOT_ASKED}"}}'


# vLLM counts no failed requests of its own; its HTTP server counts answers by handler and class.
_VLLM_HANDLERS = (
    'handler=~"/.*(completions|responses|messages|embeddings|score|rerank|classify|pooling'
    '|transcriptions|translations|generate)"'
)
_MLSERVER_PATHS = 'path=~".*/(infer|generate|infer_stream|generate_stream)"'
_RAY_ROUTES = 'route!~"/-/.*"'
# Triton counts requests that their callers gave up as failures; older ones tell no reason.
_TRITON_FAILURE = 'nv_inference_request_failure{reason!="CANCELED"}'

_PRESETS = {
    # The names that we propose for services of one's own: examples/ranker/service.py.
    Preset.GENERIC: Signals(
        requests=_counted(_http("inference_requests_total", "endpoint")),
        errors=_counted(
            f'inference_requests_total{{endpoint!~"{_NOT_ASKED}",code=~"5..|error"}}',
        ),
        latency_bucket=_bucketed(_http("inference_request_duration_seconds_bucket", "endpoint")),
        latency_sum=_counted(_http("inference_request_duration_seconds_sum", "endpoint")),
        latency_count=_counted(_http("inference_request_duration_seconds_count", "endpoint")),
        waiting=_now("inference_requests_in_progress"),
        prediction_bucket=_bucketed("prediction_probability_bucket"),
    ),
    # https://docs.bentoml.com/en/latest/build-with-bentoml/observability/metrics.html
    Preset.BENTOML: Signals(
        requests=_counted(_http("bentoml_service_request_total", "endpoint")),
        errors=_counted(
            f'bentoml_service_request_total{{endpoint!~"{_NOT_ASKED}",http_response_code=~"5.."}}',
        ),
        latency_bucket=_bucketed(
            _http("bentoml_service_request_duration_seconds_bucket", "endpoint")
        ),
        latency_sum=_counted(_http("bentoml_service_request_duration_seconds_sum", "endpoint")),
        latency_count=_counted(_http("bentoml_service_request_duration_seconds_count", "endpoint")),
        waiting=_now("bentoml_service_request_in_progress"),
    ),
    # kserve/metrics.py: histograms of the steps of a request. Failed ones are in them, unmarked.
    Preset.KSERVE: Signals(
        requests=_counted("request_predict_seconds_count"),
        latency_bucket=_bucketed("request_predict_seconds_bucket"),
        latency_sum=_counted("request_predict_seconds_sum"),
        latency_count=_counted("request_predict_seconds_count"),
    ),
    # https://docs.seldon.ai/mlserver/user-guide/metrics; the HTTP ones are of starlette_exporter,
    # with the latency in `rest_server_request_duration_seconds`, not as that page says.
    Preset.MLSERVER: Signals(
        requests=_counted(f"rest_server_requests_total{{{_MLSERVER_PATHS}}}"),
        errors=_counted(f'rest_server_requests_total{{{_MLSERVER_PATHS},status_code=~"5.."}}'),
        latency_bucket=_bucketed(
            f"rest_server_request_duration_seconds_bucket{{{_MLSERVER_PATHS}}}"
        ),
        latency_sum=_counted(f"rest_server_request_duration_seconds_sum{{{_MLSERVER_PATHS}}}"),
        latency_count=_counted(f"rest_server_request_duration_seconds_count{{{_MLSERVER_PATHS}}}"),
        waiting=_now("rest_server_requests_in_progress"),
    ),
    # https://docs.ray.io/en/latest/serve/monitoring.html; its own routes begin with "/-/".
    Preset.RAY_SERVE: Signals(
        requests=_counted(f"ray_serve_num_http_requests_total{{{_RAY_ROUTES}}}"),
        errors=_counted(
            f'ray_serve_num_http_error_requests_total{{{_RAY_ROUTES},error_code=~"5.."}}'
        ),
        latency_bucket=_bucketed(f"ray_serve_http_request_latency_ms_bucket{{{_RAY_ROUTES}}}"),
        latency_sum=_counted(f"ray_serve_http_request_latency_ms_sum{{{_RAY_ROUTES}}}"),
        latency_count=_counted(f"ray_serve_http_request_latency_ms_count{{{_RAY_ROUTES}}}"),
        latency_unit=1e-3,
        waiting=_now("ray_serve_deployment_queued_queries"),
    ),
    # https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/user_guide/
    # metrics.html; only a counter of microseconds, so that there is a mean and no quantile.
    Preset.TRITON: Signals(
        requests=_counted("nv_inference_request_success", _TRITON_FAILURE),
        errors=_counted(_TRITON_FAILURE),
        latency_sum=_counted("nv_inference_request_duration_us"),
        latency_count=_counted("nv_inference_request_success"),
        latency_unit=1e-6,
        waiting=_now("nv_inference_pending_request_count"),
    ),
    # https://docs.vllm.ai/en/latest/design/metrics/
    Preset.VLLM: Signals(
        requests=_counted(f"http_requests_total{{{_VLLM_HANDLERS}}}"),
        errors=_counted(f'http_requests_total{{{_VLLM_HANDLERS},status="5xx"}}'),
        latency_bucket=_bucketed("vllm:e2e_request_latency_seconds_bucket"),
        latency_sum=_counted("vllm:e2e_request_latency_seconds_sum"),
        latency_count=_counted("vllm:e2e_request_latency_seconds_count"),
        waiting=_now("vllm:num_requests_waiting"),
    ),
}
