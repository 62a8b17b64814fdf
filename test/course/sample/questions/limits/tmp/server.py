"""Writes to /tmp until it is refused, 1 MiB at a time, and lets that error be the answer."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    with open("/tmp/fill", "wb") as out:
        for _ in range(16_384):
            out.write(b"\1" * (1 << 20))
            out.flush()
    data["params"]["survived"] = "wrote 16 GiB to /tmp"
