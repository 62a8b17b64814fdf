"""Raises in prepare; every other function is absent or works."""


def prepare(data):
    raise RuntimeError("broken/prepare: broken on purpose in prepare")
