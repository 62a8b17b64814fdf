"""Allocates and touches memory, 16 MiB at a time."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    held = []
    for _ in range(4096):
        held.append(b"\1" * (16 << 20))
    data["params"]["survived"] = f"held {len(held) * 16} MiB"
