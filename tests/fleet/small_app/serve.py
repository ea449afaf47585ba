"""The service of the small app: healthy, unless `behaviour.json` of its commit says otherwise.

Standard library only, so that a host needs nothing but Python and a deploy takes seconds.
"""

import http.server
import json
import os
import signal
import socket
import sys
import threading
import time
from pathlib import Path

BEHAVIOUR = json.loads(Path("behaviour.json").read_text())
SLOT, HOST = os.environ["SLOT"], socket.gethostname()
BEGAN = time.monotonic()
SHARED = Path(os.environ["RELEASE_DIR"]).parents[1] / "shared"
WORD = SHARED / "be-ill"


def is_ill(path: str) -> bool:
    """On these hosts, once live, after so many seconds, at every path or at one; or when somebody
    says so."""
    if BEHAVIOUR.get("ill_when_told") and WORD.exists():
        return True
    where = BEHAVIOUR.get("ill_when_live_on", [])
    return (
        SLOT != "staged"
        and (HOST in where or "all" in where)
        and path == BEHAVIOUR.get("ill_at", path)
        and time.monotonic() - BEGAN >= BEHAVIOUR.get("ill_after", 0)
    )


def fall_ill() -> None:
    """On these hosts, after so many seconds: end at once, or answer nobody any more."""
    time.sleep(BEHAVIOUR.get("ill_after", 0))
    if HOST in BEHAVIOUR.get("dies_on", []):
        os._exit(1)
    if HOST in BEHAVIOUR.get("hangs_on", []):
        hangs.set()
    eat(BEHAVIOUR.get("eats_later", {}).get(HOST, 0))


def eat(megabytes: int) -> None:
    """Hold so much memory for good."""
    eaten.append(b"x" * (megabytes << 20))


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(12)
        time.sleep(BEHAVIOUR.get("answers_after", 0))
        if hangs.is_set():
            time.sleep(3600)
        self.send_response(500 if is_ill(self.path) else 200)
        self.end_headers()
        model = Path(os.environ["MODEL_DIR"], "model").stat().st_size
        revision = BEHAVIOUR.get("claims_revision", {}).get(HOST, os.environ["REVISION"])
        identity = {"revision": revision, "pid": os.getpid(), "model": model}
        self.wfile.write(json.dumps(identity).encode())

    def log_message(self, *args: object) -> None:
        pass


time.sleep(BEHAVIOUR.get(f"{SLOT}_starts_after", {}).get(HOST, 0))
if HOST in BEHAVIOUR.get("cannot_start_on", []):
    sys.exit("this release cannot start")
for variable in BEHAVIOUR.get("needs", []):
    os.environ[variable]
if BEHAVIOUR.get("ill_when_told") and (SHARED / "end").exists():
    raise RuntimeError("the weights do not fit the features")
eaten: list[bytes] = []
if BEHAVIOUR.get("ill_when_told") and (SHARED / "eat").exists():
    eat(int((SHARED / "eat").read_text()))
eat(BEHAVIOUR.get("eats_at_start", {}).get(HOST, 0))
activated = "LISTEN_FDS" in os.environ
address = (os.environ["BIND"], int(os.environ["PORT"]))
http.server.ThreadingHTTPServer.request_queue_size = 128
server = http.server.ThreadingHTTPServer(address, Answer, bind_and_activate=not activated)
server.daemon_threads = not activated
if activated:
    server.socket = socket.socket(fileno=3)
    # Nobody in front of it ends what was begun: it does so itself, as servers do.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
hangs = threading.Event()
threading.Thread(target=fall_ill, daemon=True).start()
server.serve_forever()
server.server_close()
