"""The tasks of the textbook Procfile. What they did is counted in Redis, outside celery's own books."""

import os
import time

import redis
from celery import Celery

URL = os.environ["REDIS_URL"]

app = Celery("tasks", broker=URL, backend=URL)
app.conf.update(
    # A task is taken off the queue when it has been done, so that a killed worker loses none ...
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    # ... and is given to another worker when it has been out for five seconds, looked at every second.
    broker_transport_options={
        "visibility_timeout": 5,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
    beat_schedule={"tick": {"task": "tasks.tick", "schedule": 1.0}},
)
books = redis.Redis.from_url(URL)


@app.task
def square(n):
    return n * n


@app.task(bind=True)
def slow_square(self, n):
    books.sadd("begun", self.request.id)
    time.sleep(3)
    books.sadd("ended", self.request.id)
    return n * n


@app.task
def tick():
    books.incr("ticks")
