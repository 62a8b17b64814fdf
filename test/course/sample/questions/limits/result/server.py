"""A result of 64 MiB."""


def generate(data):
    data["params"]["large"] = "x" * (64 << 20)
    data["params"]["survived"] = "answered 64 MiB"
