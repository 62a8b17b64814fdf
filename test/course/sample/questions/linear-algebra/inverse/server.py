"""A matrix of whole numbers whose inverse has whole numbers too."""

import json

import numpy as np


def generate(data):
    lower, upper = np.eye(2), np.eye(2)
    lower[1, 0], upper[0, 1] = np.random.choice([-3, -2, -1, 1, 2, 3], size=2)
    matrix = lower @ upper
    inverse = np.rint(np.linalg.inv(matrix))
    data["params"]["matrix"] = matrix.astype(int).tolist()
    data["params"]["text"] = json.dumps(data["params"]["matrix"])
    data["correct_answers"]["inverse"] = inverse.astype(int).tolist()
