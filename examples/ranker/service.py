"""The ranker over HTTP: `/predict`, `/healthz`, `/metrics`.

Built by `app.py` around a model that was read already, and by the tests around one of their own.
Reads neither files nor the environment.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import Flask, Request, Response, g, jsonify, request
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

from artifact import Model
from feature_log import FeatureLog
from ftrl import probabilities
from inputs import BadInput, parse

_LARGEST_BODY = 256 * 1024


@dataclass(frozen=True)
class Identity:
    """Who answers: what a deploy compares with what it meant to start."""

    revision: str
    release: str
    slot: str


class Instruments:
    """What Prometheus reads. One registry for one process: run a single worker, with threads."""

    def __init__(self, model: Model, identity: Identity) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "inference_requests",
            "Requests answered.",
            ("endpoint", "code"),
            registry=self.registry,
        )
        self.seconds = Histogram(
            "inference_request_duration_seconds",
            "Time from a request to its answer.",
            ("endpoint",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
            registry=self.registry,
        )
        self.probability = Histogram(
            "prediction_probability",
            "Predicted probability of a click, of every ad ranked.",
            buckets=(0.005, 0.01, 0.02, 0.03, 0.05, 0.08, 0.12, 0.2, 0.3, 0.5, 1.0),
            registry=self.registry,
        )
        self.in_progress = Gauge(
            "inference_requests_in_progress",
            "Predictions that are being made at this moment.",
            registry=self.registry,
        )
        info = Gauge(
            "model_info",
            "Always 1; its labels say what runs.",
            ("revision", "model"),
            registry=self.registry,
        )
        info.labels(identity.revision, model.sha256).set(1)
        trained = Gauge(
            "model_trained_timestamp_seconds",
            "When the model was trained.",
            registry=self.registry,
        )
        trained.set(model.trained_at.timestamp())

    def observe(self, asked: Request, code: int, seconds: float) -> None:
        """Count one answer; whatever has no route of its own is one endpoint, not thousands."""
        endpoint = asked.endpoint or "none"
        self.requests.labels(endpoint, code).inc()
        self.seconds.labels(endpoint).observe(seconds)


def create(model: Model, identity: Identity, log: FeatureLog | None = None) -> Flask:
    """The application that serves this model under this identity, and logs a sample if it may."""
    app = Flask("ranker")
    app.config["MAX_CONTENT_LENGTH"] = _LARGEST_BODY
    app.json.sort_keys = False  # type: ignore[attr-defined]  # of Flask's default provider
    instruments = Instruments(model, identity)

    @app.before_request
    def start_the_clock() -> None:
        g.started = time.perf_counter()

    @app.after_request
    def count(response: Response) -> Response:
        seconds = time.perf_counter() - g.started
        instruments.observe(request, response.status_code, seconds)
        return response

    @app.get("/healthz")
    def healthz() -> Response:
        return jsonify(
            status="ok",
            revision=identity.revision,
            release=identity.release,
            model=model.sha256,
            slot=identity.slot,
        )

    @app.post("/predict")
    @instruments.in_progress.track_inprogress()
    def predict() -> Response:
        question = parse(request.get_data())
        columns = question.columns()
        predicted = probabilities(model.weights, model.spec.weights_for(columns))
        if log:
            log.append(columns, predicted)
        for each in predicted:
            instruments.probability.observe(each)
        best_first = (-predicted).argsort(kind="stable")
        return jsonify(
            ranking=[
                {"ad": question.ads[place].id, "probability": round(float(predicted[place]), 6)}
                for place in best_first
            ]
        )

    @app.get("/metrics")
    def metrics() -> Response:
        return Response(generate_latest(instruments.registry), content_type=CONTENT_TYPE_LATEST)

    @app.errorhandler(BadInput)
    def bad_input(error: BadInput) -> tuple[Response, int]:
        return jsonify(error=str(error)), 400

    return app
