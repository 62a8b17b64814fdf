import random

import helper

try:
    import numpy
    import sympy
except ImportError:  # a runtime without them
    numpy = sympy = None


def generate(data):
    a = random.randint(2, 5)
    data["params"] = {"a": a / 2, "l": [1, 2.0], "v": random.choice(helper.NAMES)}
    if numpy is not None and sympy is not None:
        m = numpy.array([[2.0, 1.0, 0.5], [1.0, a, 1.5], [0.0, 1.0, 4.0]])
        t = sympy.symbols("t")
        p = sympy.expand((t - random.randint(10**9, 2 * 10**9)) ** 3)  # a number that no question has
        data["params"].update(p=str(p), volume=float(numpy.linalg.det(m)))
        data["correct_answers"]["rate"] = str(sympy.diff(p, t))


def grade(data):
    raise ValueError("x")
