"""Raises in render; every other function is absent or works."""


def render(data, html):
    raise RuntimeError("broken/render: broken on purpose in render")
