"""The question behind the RFC's example batch: its grade needs params.number only."""


def generate(data):
    data["params"]["number"] = 123


def grade(data):
    data["score"] = 1 if data["params"]["number"] == 123 else 0
