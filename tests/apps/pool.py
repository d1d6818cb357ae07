"""A pool of processes, as people write it: without a word about signals."""

import multiprocessing
import os
import time


def work(n):
    print(f"task {n} in process {os.getpid()}", flush=True)
    time.sleep(600)


if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    with multiprocessing.Pool(4) as pool:
        pool.map(work, range(4), chunksize=1)
