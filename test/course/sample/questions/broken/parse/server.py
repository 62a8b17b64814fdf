"""Raises in parse; every other function is absent or works."""


def parse(data):
    raise RuntimeError("broken/parse: broken on purpose in parse")
