"""Raises at the top level, before any function is called."""

import broken_on_purpose_no_such_module


def generate(data):
    data["params"]["module"] = broken_on_purpose_no_such_module.__name__
