"""Raises in test; every other function is absent or works."""


def test(data):
    raise RuntimeError("broken/test: broken on purpose in test")
