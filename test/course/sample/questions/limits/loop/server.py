"""Burns CPU without end."""


def generate(data):
    while True:
        pass
