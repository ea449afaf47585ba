"""The service of the small app: healthy, unless `behaviour.json` of its commit says otherwise.

Standard library only, so that a host needs nothing but Python and a deploy takes seconds.
"""

import http.server
import json
import os
import socket
import time
from pathlib import Path

BEHAVIOUR = json.loads(Path("behaviour.json").read_text())
SLOT, HOST = os.environ["SLOT"], socket.gethostname()
BEGAN = time.monotonic()


def is_ill(path: str) -> bool:
    """On these hosts, once live, after so many seconds; at every path, or at one."""
    where = BEHAVIOUR.get("ill_when_live_on", [])
    return (
        SLOT != "staged"
        and (HOST in where or "all" in where)
        and path == BEHAVIOUR.get("ill_at", path)
        and time.monotonic() - BEGAN >= BEHAVIOUR.get("ill_after", 0)
    )


class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(12)
        self.send_response(500 if is_ill(self.path) else 200)
        self.end_headers()
        model = Path(os.environ["MODEL_DIR"], "model").stat().st_size
        identity = {"revision": os.environ["REVISION"], "pid": os.getpid(), "model": model}
        self.wfile.write(json.dumps(identity).encode())

    def log_message(self, *args: object) -> None:
        pass


time.sleep(BEHAVIOUR.get(f"{SLOT}_starts_after", {}).get(HOST, 0))
activated = "LISTEN_FDS" in os.environ
address = (os.environ["BIND"], int(os.environ["PORT"]))
server = http.server.ThreadingHTTPServer(address, Answer, bind_and_activate=not activated)
if activated:
    server.socket = socket.socket(fileno=3)
server.serve_forever()
