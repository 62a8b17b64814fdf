"""generate() changes a key that it may not: refused in a whole phase."""


def generate(data):
    data["variant_seed"] = data["variant_seed"] + 1
