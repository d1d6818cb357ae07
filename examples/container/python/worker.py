"""Works until it is asked to stop, and finishes what it has begun."""

import signal
import time

asked = False


def stop(number, frame):
    global asked
    asked = True


signal.signal(signal.SIGTERM, stop)
print("working")
while not asked:
    time.sleep(0.1)
print("stopped")
