"""A result of 1 GiB."""


def generate(data):
    data["params"]["large"] = "x" * (1 << 30)
    data["params"]["survived"] = "answered a gigabyte"
