"""os._exit: no handler, no flush, no answer."""

import os


def generate(data):
    os._exit(7)
