"""Raises in generate; every other function is absent or works."""


def generate(data):
    raise RuntimeError("broken/generate: broken on purpose in generate")
