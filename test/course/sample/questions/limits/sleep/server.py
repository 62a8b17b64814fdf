"""Sleeps past every wall limit, using no CPU."""

import time


def generate(data):
    time.sleep(3600)
    data["params"]["survived"] = "slept for an hour"
