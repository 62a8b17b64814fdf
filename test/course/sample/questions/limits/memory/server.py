"""Allocates and touches memory, 16 MiB at a time."""


def generate(data):
    held = []
    for _ in range(4096):
        held.append(b"\1" * (16 << 20))
    data["params"]["survived"] = f"held {len(held) * 16} MiB"
