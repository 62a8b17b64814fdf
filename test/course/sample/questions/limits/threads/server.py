"""Starts sleeping threads until it is refused, and lets that error be the answer."""

import os

import threading
import time

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    for _ in range(20_000):
        threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()
    data["params"]["survived"] = "started 20000 threads"
