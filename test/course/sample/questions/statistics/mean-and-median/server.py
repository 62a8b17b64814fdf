"""A sample from numpy's random stream; mustache repeats its numbers."""

import numpy as np


def generate(data):
    sample = np.random.lognormal(4.5, 0.4, size=9).round().astype(int)
    data["params"]["sample"] = sample.tolist()
    data["correct_answers"]["mean"] = round(float(np.mean(sample)), 2)
    data["correct_answers"]["median"] = int(np.median(sample))
