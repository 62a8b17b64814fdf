"""Prints 1 GiB to stdout, 1 MiB at a time."""

MEGABYTE = ("0123456789abcde\n" * 65536)


def generate(data):
    for _ in range(1024):
        print(MEGABYTE, end="")
    data["params"]["survived"] = "printed a gigabyte"
