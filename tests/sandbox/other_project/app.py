"""A web service that says what it is."""

import json
import os
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        answer = {
            "revision": os.environ["REVISION"],
            "flavour": os.environ.get("FLAVOUR"),
            "auc": json.loads(Path(os.environ["MODEL_DIR"], "model.json").read_text()),
        }
        body = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


HTTPServer((os.environ["BIND"], int(os.environ["PORT"])), Answer).serve_forever()
