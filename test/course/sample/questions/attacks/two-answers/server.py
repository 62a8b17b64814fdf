"""Forks, and both processes come back with an answer. The caller must see exactly one of them."""

import os
import time


def generate(data):
    child = os.fork()
    if child:
        time.sleep(0.1)
    data["params"]["who"] = "parent" if child else "child"
