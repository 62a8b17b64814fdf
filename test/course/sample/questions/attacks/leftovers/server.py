"""Leaves a file, a module attribute and a process behind. A later call must find none: found must stay empty."""

import os
import random
import sys

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")

PLACES = ["/tmp/leftover", "/dev/shm/leftover", "/var/tmp/leftover"]


def generate(data):
    found = [path for path in PLACES if os.path.exists(path)]
    if hasattr(sys, "leftover"):
        found.append("sys.leftover")
    if hasattr(random, "leftover"):
        found.append("random.leftover")
    left = []
    for path in PLACES:
        try:
            with open(path, "w") as target:
                target.write("left behind\n")
            left.append(path)
        except OSError:
            pass
    sys.leftover = random.leftover = True
    data["params"]["found"], data["params"]["left"] = found, left
