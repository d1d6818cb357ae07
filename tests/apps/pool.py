"""A pool of processes, as people write it: without a word about signals."""

import multiprocessing
import os
import sys
import time


def work(n):
    # In one write: the processes of a pool share one pipe, and `print` may write the newline apart.
    sys.stdout.write(f"task {n} in process {os.getpid()}\n")
    sys.stdout.flush()
    time.sleep(600)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(4) as pool:
        pool.map(work, range(4), chunksize=1)
