"""generate() adds a key that PrairieLearn's data does not have: refused in a whole phase."""


def generate(data):
    data["broken_on_purpose"] = True
