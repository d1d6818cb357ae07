"""The smallest WSGI app: answers with the pid of the worker that served the request."""

import os


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"hello from process {os.getpid()}\n".encode()]
