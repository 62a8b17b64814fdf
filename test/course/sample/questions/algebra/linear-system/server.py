"""Two equations in two unknowns; mustache repeats a table row per order."""

import random

import numpy as np


def generate(data):
    prices = np.random.randint(2, 12, size=2)
    while True:
        amounts = np.array([[random.randint(1, 9) for _ in range(2)] for _ in range(2)])
        if abs(np.linalg.det(amounts)) > 0.5:
            break
    costs = amounts @ prices
    data["params"]["orders"] = [
        {"apples": int(a), "pears": int(p), "cost": int(c)} for (a, p), c in zip(amounts, costs)
    ]
    apple, pear = np.linalg.solve(amounts, costs)
    data["correct_answers"]["apple"], data["correct_answers"]["pear"] = round(apple), round(pear)
