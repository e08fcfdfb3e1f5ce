"""A web service that works, and logs as such programs do: times, levels, colours."""
import http.server
import sys

LINES = """\
\x1b[32m[I 09:41:02.318 ServerApp]\x1b[m Serving notebooks from local directory: /workspace
\x1b[32m[I 09:41:02.318 ServerApp]\x1b[m The server is running at http://127.0.0.1:8888/
\x1b[33m[W 09:41:02.404 ServerApp]\x1b[m No web browser found: the server opens none.
\x1b[32m[I 09:41:19.911 ServerApp]\x1b[m Kernel started: 5a0c2f4e
\x1b[32m[I 09:41:23.027 ServerApp]\x1b[m Saving file at /workspace/experiments/baseline.ipynb
\x1b[31m[E 09:42:10.550 ServerApp]\x1b[m Kernel 5a0c2f4e died, restarting; see https://docs.example.com/kernels
\x1b[32m[I 09:42:11.008 ServerApp]\x1b[m Kernel restarted: 5a0c2f4e"""


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = b"<!doctype html><title>Notebook</title><h1>Notebook</h1>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        print(f"\x1b[32m[I 09:43:00.120 ServerApp]\x1b[m GET {self.path}", flush=True)

    def log_message(self, *_):
        pass


print(LINES, flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Page).serve_forever()
