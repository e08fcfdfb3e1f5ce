"""Stand-in for ComfyUI: the options that images/comfyui passes, and the answers that its test asks for."""

import argparse
import base64
import fcntl
import hashlib
import json
import pathlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

parser = argparse.ArgumentParser()
parser.add_argument("--listen", default="127.0.0.1")
parser.add_argument("--port", type=int, default=8188)
for name in ["input", "output", "user"]:
    parser.add_argument(f"--{name}-directory")
parser.add_argument("--database-url")
for flag in ["--cpu", "--lowvram"]:
    parser.add_argument(flag, action="store_true")
options = parser.parse_args()
# As ComfyUI does: it ends if another instance has the database.
lock = open(options.database_url.removeprefix("sqlite:///") + ".lock", "w")
fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
# As ComfyUI does: the directory is resolved when the program starts.
base = pathlib.Path(__file__).resolve().parent


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = self.path.split("?")[0]
        if path == "/ws":
            self.websocket()
        elif path == "/":
            self.answer("text/html", "<title>ComfyUI</title>")
        elif path == "/system_stats":
            self.answer("application/json", json.dumps({"system": {"base": str(base)}, "options": vars(options)}))
        elif path == "/queue":
            self.answer("application/json", json.dumps({"queue_running": [], "queue_pending": []}))
        elif path.startswith("/models/"):
            folder = base / path[1:]
            names = sorted(file.name for file in folder.iterdir() if file.suffix == ".safetensors")
            self.answer("application/json", json.dumps(names))
        elif path == "/object_info":
            self.answer("application/json", json.dumps([node.parent.name for node in base.glob("custom_nodes/*/__init__.py")]))
        else:
            self.send_error(404)

    def answer(self, kind, text):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def websocket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        status = json.dumps({"type": "status", "data": {"status": {"exec_info": {"queue_remaining": 0}}}}).encode()
        self.wfile.write(bytes([0x81, len(status)]) + status)
        self.rfile.read(1)


ThreadingHTTPServer((options.listen, options.port), Handler).serve_forever()
