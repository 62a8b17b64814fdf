"""Prints 1 GiB to stdout, 1 MiB at a time."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")

MEGABYTE = ("0123456789abcde\n" * 65536)


def generate(data):
    for _ in range(1024):
        print(MEGABYTE, end="")
    data["params"]["survived"] = "printed a gigabyte"
