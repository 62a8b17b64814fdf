"""generate() leaves what is not JSON in data: an error that names the value, not a crash."""


def generate(data):
    data["params"]["value"] = float("nan")
