"""A result of 64 MiB."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    data["params"]["large"] = "x" * (64 << 20)
    data["params"]["survived"] = "answered 64 MiB"
