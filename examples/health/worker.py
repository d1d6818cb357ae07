"""Takes jobs, and says how it is on the socket that NOTIFY_SOCKET names (sd_notify(3))."""

import os
import signal
import socket
import sys

import redis


def say(text):
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.sendto(text.encode(), address.replace("@", "\0", 1))


stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
jobs = redis.Redis.from_url(os.environ["REDIS_URL"])
jobs.ping()
say("READY=1")
done = 0
while not stopping:
    say("WATCHDOG=1")
    try:
        job = jobs.blpop("jobs", timeout=1)
    except redis.ConnectionError:
        # Everything is told to end at the same moment, redis too.
        if stopping:
            break
        raise
    if job:
        done += 1
        print("did", job[1].decode())
        say(f"STATUS={done} jobs done")
sys.exit(0)
