"""A syntax error: no function of this file can be called."""


def generate(data)
    data["params"]["broken/syntax: broken on purpose"] = True
