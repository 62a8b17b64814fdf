"""Declares a workspace and an external grader, neither of which this product starts."""

import random


def generate(data):
    n = random.randint(40, 99)
    data["params"]["n"] = n
    data["correct_answers"]["sum"] = sum(range(0, n + 1, 2))
