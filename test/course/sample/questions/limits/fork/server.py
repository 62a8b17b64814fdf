"""Every child forks again. A hundred thousand would be counted as survival: there is no limit then."""

import os
import time

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    forked = 0
    for _ in range(100_000):
        try:
            child = os.fork()
        except OSError:
            time.sleep(0.01)
            continue
        forked += 1
        if child == 0:
            forked = 0
    data["params"]["survived"] = f"forked {forked} times"
