"""A service of one file, for hosts without anything installed: it tells about the place it runs in.

GET /            its environment, process id, user, and what of the place it can use
GET /slow        the same, after a second
"""

import json
import os
import signal
import socket
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


def can_write(folder: str) -> bool:
    probe = Path(folder) / f"probe-{os.getpid()}"
    try:
        probe.write_text("x")
    except OSError:
        return False
    probe.unlink()
    return True


def can_read(path: str) -> bool:
    try:
        return bool(Path(path).read_bytes())
    except OSError:
        return False


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/slow":
            time.sleep(1)
        root = Path(os.environ["RELEASE_DIR"]).parents[1]
        body = json.dumps(
            {
                "environment": dict(os.environ),
                "pid": os.getpid(),
                "uid": os.getuid(),
                "folder": str(Path.cwd()),
                "activated": "LISTEN_FDS" in os.environ,
                "writes": {
                    "data": can_write(f"{root}/shared/data"),
                    "release": can_write(os.environ["RELEASE_DIR"]),
                    "home": can_write(os.environ.get("HOME", "/nonexistent")),
                    "tmp": can_write("/tmp"),
                },
                "reads": {
                    "own environment": can_read(f"{os.environ['RELEASE_DIR']}/.aideploy/env"),
                    "homes": can_read("/home/deploy/.profile"),
                },
            }
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        print(f"{os.environ['RELEASE']} {format % args}", flush=True)


def serve() -> None:
    address = (os.environ["BIND"], int(os.environ["PORT"]))
    server = ThreadingHTTPServer(address, Answer, bind_and_activate=False)
    server.daemon_threads = False
    if "LISTEN_FDS" in os.environ:
        server.socket = socket.socket(fileno=3)
    else:
        server.allow_reuse_address = True
        server.server_bind()
        server.server_activate()
    # As servers do: finish what was begun, then go.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever()
    server.server_close()


if "--crash" in sys.argv:
    sys.exit("this release cannot start")
serve()
