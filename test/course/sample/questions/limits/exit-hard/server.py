"""os._exit: no handler, no flush, no answer."""

import os

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")


def generate(data):
    os._exit(7)
