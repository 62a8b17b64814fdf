"""Markdown in a question's HTML, with mustache inside."""

import random


def generate(data):
    count, calves = random.randint(40, 90), random.randint(5, 30)
    data["params"]["place"] = random.choice(["Nachusa", "Midewin", "Konza", "Wichita"])
    data["params"]["count"], data["params"]["calves"] = count, calves
    data["correct_answers"]["grown"] = count - calves
