"""A service with the metrics that the preset "generic" expects, ill on demand.

Standard library only. GET /behave/errors, /behave/some-errors (one of ten) and /behave/slow make it
so, /behave/well ends that. `behaves` in the commit's behaviour.json is how it begins.
"""

import http.server
import json
import os
import random
import threading
import time
from pathlib import Path

BUCKETS = (0.01, 0.05, 0.1, 0.3, 1.0)
SLOW_SECONDS = 0.5
lock = threading.Lock()
requests: dict[str, int] = {"200": 0, "500": 0}
buckets = dict.fromkeys(BUCKETS, 0)
total = {"count": 0, "sum": 0.0}
behaviour = {"now": json.loads(Path("behaviour.json").read_text()).get("behaves", "well")}


def metrics() -> str:
    lines = ["# TYPE inference_requests_total counter"]
    for code, number in requests.items():
        lines.append(f'inference_requests_total{{endpoint="/predict",code="{code}"}} {number}')
    lines.append("# TYPE inference_request_duration_seconds histogram")
    name = "inference_request_duration_seconds"
    for bucket, number in buckets.items():
        lines.append(f'{name}_bucket{{endpoint="/predict",le="{bucket}"}} {number}')
    lines.append(f'{name}_bucket{{endpoint="/predict",le="+Inf"}} {total["count"]}')
    lines.append(f'{name}_sum{{endpoint="/predict"}} {total["sum"]}')
    lines.append(f'{name}_count{{endpoint="/predict"}} {total["count"]}')
    return "\n".join([*lines, ""])


def predict() -> int:
    began = time.monotonic()
    if behaviour["now"] == "slow":
        time.sleep(SLOW_SECONDS)
    share = {"errors": 1.0, "some-errors": 0.1}.get(behaviour["now"], 0.0)
    status = 500 if random.random() < share else 200
    took = time.monotonic() - began
    with lock:
        requests[str(status)] += 1
        total["count"] += 1
        total["sum"] += took
        for bucket in BUCKETS:
            buckets[bucket] += took <= bucket
    return status


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        status, text = 200, json.dumps({"revision": os.environ["REVISION"]})
        if self.path == "/metrics":
            text = metrics()
        elif self.path == "/predict":
            status = predict()
        elif self.path.startswith("/behave/"):
            behaviour["now"] = self.path.rpartition("/")[2]
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *args: object) -> None:
        pass


address = (os.environ["BIND"], int(os.environ["PORT"]))
http.server.ThreadingHTTPServer.request_queue_size = 128
http.server.ThreadingHTTPServer(address, Answer).serve_forever()
