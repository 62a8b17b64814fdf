"""Raises in grade; every other function is absent or works."""


def grade(data):
    raise RuntimeError("broken/grade: broken on purpose in grade")
