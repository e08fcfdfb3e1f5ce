"""A small web service: lists the files in its folder of models."""
import http.server
import os
import sys

MODELS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "models")

if __name__ == "__main__":
    # Only service-run and the login of the base image reach the port.
    handler = lambda *given: http.server.SimpleHTTPRequestHandler(*given, directory=MODELS)
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
