"""Sleeps past every wall limit, using no CPU."""

import os

import time

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    time.sleep(3600)
    data["params"]["survived"] = "slept for an hour"
