"""While a rollout is watched a real Prometheus is asked, and what it says decides.

The service shows counters of requests that it claims to have answered: what is tried is what
follows from numbers, not traffic. Deploys are processes of their own.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from aideploy.errors import ExitStatus
from tests.prometheus import PrometheusServer
from tests.waiting import eventually

from .small_project import APP, Ran, SmallProject, program
from .test_rollouts import Terminal, live

# So many requests a second, of which a part failed, and how long they took: as the commit says.
_METRICS = """\
BEGUN = time.time()
RATE, BAD, SECONDS = {rate}, {bad}, {seconds}

def metrics():
    done = int((time.time() - BEGUN) * RATE)
    bad = int(done * BAD)
    lines = []
    if done:
        lines.append('inference_requests_total{{endpoint="predict",code="200"}} %d' % (done - bad))
    if bad:
        lines.append('inference_requests_total{{endpoint="predict",code="500"}} %d' % bad)
    name = 'inference_request_duration_seconds'
    for edge in (0.01, 0.1, 1.0):
        inside = done * min(edge / SECONDS / 2, 1)
        lines.append('%s_bucket{{endpoint="predict",le="%s"}} %d' % (name, edge, inside))
    lines.append('%s_bucket{{endpoint="predict",le="+Inf"}} %d' % (name, done))
    lines.append('%s_sum{{endpoint="predict"}} %f' % (name, done * SECONDS))
    lines.append('%s_count{{endpoint="predict"}} %d' % (name, done))
    return "\\n".join(lines) + "\\n"

def answer(request):
    request.say(metrics() if request.path == "/metrics" else IS)
"""

ERRORS = {"name": "errors", "kind": "ratio", "interval": "2s", "min_requests": 60}
LATENCY = {**ERRORS, "name": "latency", "signal": "latency"}
LIMIT = {**ERRORS, "name": "limit", "kind": "slo", "limits": {"max": 0.5}}
ONE_FIRST = {"canary": 1, "batch": "100%", "bake": "5s", "max_wait": "8s"}


def service(*, rate: float = 50, bad: float = 0.01, seconds: float = 0.05) -> dict[str, str]:
    return {"service.py": program(_METRICS.format(rate=rate, bad=bad, seconds=seconds))}


@pytest.fixture(scope="module")
def watching(
    deployed: SmallProject, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[PrometheusServer]:
    """A Prometheus that scrapes the service on all hosts."""
    jobs = [
        {
            "targets": [f"{host.address}:{deployed.port}"],
            "labels": {"app": APP, "env": "sandbox", "host": host.name, "slot": "live"},
        }
        for host in deployed.hosts
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "scrape_configs": [{"job_name": "services", "static_configs": jobs}],
    }
    folder = tmp_path_factory.mktemp("prometheus")
    with PrometheusServer(folder, json.dumps(configuration)) as server:
        yield server


def settle(
    project: SmallProject,
    url: str,
    checks: Sequence[Mapping[str, Any]],
    **rollout: object,
) -> None:
    changed: dict[str, Any] = {"monitoring.prometheus": {"url": url}}
    project.settle(rollout={**ONE_FIRST, **rollout}, **changed)
    file = project.folder / "hosts.toml"
    tables = []
    for check in checks:
        tables.append("[[analysis]]")
        for key, value in check.items():
            if isinstance(value, dict):
                inner = ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items())
                tables.append(f"{key} = {{ {inner} }}")
            else:
                tables.append(f"{key} = {json.dumps(value)}")
    file.write_text(file.read_text() + "\n" + "\n".join(tables) + "\n")


@pytest.fixture(scope="module")
def usual() -> list[str]:
    """The release with the usual service, as soon as there is one."""
    return []


@pytest.fixture
def served(
    project: SmallProject, watching: PrometheusServer, usual: list[str]
) -> Iterator[SmallProject]:
    """The project with a service on all hosts that has shown its numbers for some seconds."""
    head = project.git("rev-parse", "HEAD")
    project.commit(service())
    if not usual or set(live(project)) != set(usual):
        project.settle()
        assert project.fab("deploy").status == ExitStatus.DONE
        usual[:] = [str(live(project)[0])]
    time.sleep(4)
    yield project
    project.git("reset", "--quiet", "--hard", head)
    project.frees_the_locks()


def kept(project: SmallProject, host: str = "host1") -> list[dict[str, Any]]:
    """What the host keeps of the newest analysis."""
    files = sorted((project.root(host) / "analyses").glob("*.json"))
    document: dict[str, Any] = json.loads(files[-1].read_text())
    assert document["release"] == files[-1].stem
    watches: list[dict[str, Any]] = document["watches"]
    return watches


def test_a_release_with_more_errors_is_taken_back_before_the_bake_is_over(
    served: SmallProject, watching: PrometheusServer
) -> None:
    before = live(served)
    served.commit(service(bad=0.2))
    settle(served, watching.url, [ERRORS, LIMIT], bake="60s", confirm="3m")
    began = time.monotonic()
    ran = served.fab("deploy", timeout=120)
    assert ran.status == ExitStatus.ROLLED_BACK, ran.text
    assert time.monotonic() - began < 45
    assert "the analysis failed: errors: " in ran.text
    assert "% bad (" in ran.text
    assert "analysis of batch 1 of 2 (canary) against host2, host3: fail" in ran.text
    assert live(served) == before
    assert b"the analysis failed" in served.on_host("host1").journal
    (watch,) = kept(served)
    assert watch["verdict"] == "fail"
    errors = watch["checks"][0]
    assert errors["numbers"]["p"] < errors["numbers"]["alpha"]
    assert {query["side"] for query in errors["queries"]} == {"canary", "baseline"}
    assert 'host=~"host1"' in errors["queries"][0]["query"]
    release = sorted((served.root("host1") / "analyses").glob("*.json"))[-1].stem
    assert f"  {release}: fail (errors fail, limit " in served.fab("history").text
    told = json.loads(served.fab("history", "--json").text)["analyses"]
    assert told[-1]["release"] == release and told[-1]["watches"][0]["verdict"] == "fail"
    compared = served.fab("compare", str(before[0]), release)
    assert "LIVE ANALYSIS" in compared.text
    then = served.fab("history", "--at", f"{datetime.now(UTC):%Y-%m-%d}").text
    assert "against host2, host3: fail" in then and "errors: fail: " in then


@pytest.mark.slow
def test_the_same_release_passes_and_its_record_says_how(
    served: SmallProject, watching: PrometheusServer
) -> None:
    served.commit({"note": "nothing of importance"})
    settle(served, watching.url, [ERRORS, LATENCY, LIMIT])
    ran = served.fab("deploy", "--json", timeout=120)
    assert ran.status == ExitStatus.DONE, ran.text
    said = json.loads(ran.text[ran.text.index("{\n") :])["analysis"]
    assert [watch["verdict"] for watch in said] == ["pass", "pass"]
    assert said[0]["against"] == "host2, host3"
    # Nobody serves the old release any more.
    assert said[1]["against"].endswith("before the rollout")
    assert [one["name"] for one in said[0]["checks"]] == ["errors", "latency", "limit"]
    assert [watch["checks"] for watch in kept(served, "host3")] == [w["checks"] for w in said]


@pytest.mark.slow
def test_a_dry_run_that_fails_is_shown_and_takes_nothing_back(
    served: SmallProject, watching: PrometheusServer
) -> None:
    served.commit(service(bad=0.3))
    settle(served, watching.url, [{**ERRORS, "dry_run": True}], canary=0)
    ran = served.fab("deploy", timeout=120)
    assert ran.status == ExitStatus.DONE, ran.text
    assert "dry run" in ran.text
    assert kept(served)[0]["checks"][0]["verdict"] == "fail"


def held(ran: Ran, project: SmallProject, before: list[str | None]) -> None:
    assert ran.status == ExitStatus.HELD, ran.text
    # The canary has it, nobody else.
    assert live(project)[1:] == before[1:]
    assert live(project)[0] != before[0]


@pytest.mark.slow
def test_too_few_requests_are_waited_for_and_then_held_for_a_person(
    served: SmallProject, watching: PrometheusServer
) -> None:
    before = live(served)
    served.commit(service(rate=2))
    settle(served, watching.url, [ERRORS])
    held(served.fab("deploy", timeout=120), served, before)
    assert "requests so far, 60 are needed" in served.fab("rollout.status").text
    assert kept(served)[0]["verdict"] == "inconclusive"

    assert served.fab("rollout.promote").status == ExitStatus.DONE
    assert len(set(live(served))) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "status"), [("rollback", ExitStatus.ROLLED_BACK), ("promote", ExitStatus.DONE)]
)
def test_who_wants_it_otherwise_is_asked_for_nothing(
    served: SmallProject, watching: PrometheusServer, what: str, status: ExitStatus
) -> None:
    before = live(served)
    served.commit(service(rate=2))
    settle(served, watching.url, [ERRORS], max_wait="2s", on_inconclusive=what)
    ran = served.fab("deploy", timeout=120)
    assert ran.status == status, ran.text
    assert "cannot decide" in ran.text
    assert (live(served) == before) == (status == ExitStatus.ROLLED_BACK)


@pytest.mark.slow
def test_a_prometheus_that_is_down_holds_whatever_the_settings_say(served: SmallProject) -> None:
    before = live(served)
    served.commit({"note": "no Prometheus"})
    settle(served, "http://127.0.0.1:9", [ERRORS], max_wait="2s", on_inconclusive="promote")
    ran = served.fab("deploy", timeout=120)
    held(ran, served, before)
    assert "cannot be asked" in ran.text
    assert served.fab("rollout.abort").status == ExitStatus.DONE
    assert live(served) == before


def test_a_query_that_does_not_parse_is_met_before_the_first_connection(
    served: SmallProject, watching: PrometheusServer
) -> None:
    queries = {"bad": "sum(bad{$SELECTOR}", "requests": "sum(all{$SELECTOR})"}
    settle(served, watching.url, [{**ERRORS, "queries": queries}])
    served.refuses("deploy", status=ExitStatus.USAGE, says="analysis[0] (errors): ")


@contextmanager
def waiting(project: SmallProject, url: str) -> Iterator[Terminal]:
    """A deploy that waits for requests: its canary got too few to be judged."""
    project.commit(service(rate=2))
    settle(project, url, [ERRORS], max_wait="5m", confirm="10m")
    with Terminal(project) as terminal:
        terminal.wait_for("watch       host1  batch 1 of 2 (canary)")
        time.sleep(6)
        yield terminal


@pytest.mark.slow
def test_who_promotes_a_rollout_that_waits_is_not_asked_again(
    served: SmallProject, watching: PrometheusServer
) -> None:
    with waiting(served, watching.url) as terminal:
        assert served.fab("rollout.promote").status == ExitStatus.DONE
        assert terminal.finish().status == ExitStatus.DONE, terminal.text
    assert len(set(live(served))) == 1


@pytest.mark.slow
def test_ctrl_c_while_it_is_waited_for_takes_all_back_at_once(
    served: SmallProject, watching: PrometheusServer
) -> None:
    before = live(served)
    with waiting(served, watching.url) as terminal:
        terminal.process.terminate()
        began = time.monotonic()
        assert terminal.finish().status == ExitStatus.INTERRUPTED, terminal.text
        assert time.monotonic() - began < 15
    assert eventually(lambda: live(served) == before)


def test_any_two_sides_are_judged_from_the_command_line(
    served: SmallProject, watching: PrometheusServer
) -> None:
    settle(served, watching.url, [ERRORS])
    sides = ("--canary", 'host="host1"', "--baseline", '{host=~"host2|host3"}')
    ran = served.fab("analysis.run", *sides, "--last", "4s", "--json")
    assert ran.status == ExitStatus.DONE, ran.text
    said = json.loads(ran.text)
    assert said["verdict"] == "pass"
    assert said["checks"][0]["canary"] == pytest.approx(0.01, abs=0.02)
    nothing = served.fab("analysis.run", "--canary", 'host="nobody"', "--last", "4s")
    assert nothing.status == ExitStatus.NOT_READY
    assert "no series matches" in nothing.text
    wrong = served.fab("analysis.run", "--canary", 'host="', "--last", "4s")
    assert wrong.shows_no_traceback
    assert wrong.status != ExitStatus.DONE
    assert Path(served.folder, "hosts.toml").exists()
