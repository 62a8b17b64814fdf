"""Console output: an issue that is not fatal. The variant is fine."""

import sys


def generate(data):
    print("broken/prints: on stdout")
    print("broken/prints: on stderr", file=sys.stderr)
    data["params"]["printed"] = True
