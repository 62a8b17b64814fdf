import random

import numpy
import sympy


def generate(data):
    a = random.randint(2, 10**6)  # sympy remembers results: every call has a number of its own
    x = sympy.symbols("x")
    cubic = sympy.expand((x + a) ** 3)
    data["params"]["a"] = a
    data["params"]["det"] = float(numpy.linalg.det(numpy.array([[1.0, a], [3.0, 4.0]])))
    data["correct_answers"]["slope"] = str(sympy.diff(cubic, x))
