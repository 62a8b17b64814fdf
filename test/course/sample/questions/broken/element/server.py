"""The element named in question.html raises in the phase of params.phase, which is its prepare unless told."""


def generate(data):
    data["params"]["phase"] = "prepare"
