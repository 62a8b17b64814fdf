"""Raises in file; every other function is absent or works."""


def file(data):
    raise RuntimeError("broken/file: broken on purpose in file")
