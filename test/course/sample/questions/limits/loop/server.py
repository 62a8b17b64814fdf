"""Burns CPU without end."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    while True:
        pass
