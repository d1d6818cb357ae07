"""Answers with the process that served the request."""

import os


def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['PS']} in process {os.getpid()}\n".encode()]
