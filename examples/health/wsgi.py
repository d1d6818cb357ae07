"""Hands each request to the workers as a job."""

import os

import redis

jobs = redis.Redis.from_url(os.environ["REDIS_URL"])


def app(environ, start_response):
    waiting = jobs.rpush("jobs", environ["PATH_INFO"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{os.environ['PS']} took it; {waiting} waiting\n".encode()]
