"""A limit that sympy computes where substitution divides zero by zero."""

import random

import sympy
from prairie import expressions

X = sympy.Symbol("x")


def generate(data):
    at, other = random.sample([-5, -4, -3, -2, 2, 3, 4, 5], 2)
    top, bottom = sympy.expand((X - at) * (X - other)), X - at
    data["params"].update(at=at, top=expressions.show(top), bottom=expressions.show(bottom))
    data["correct_answers"]["limit"] = int(sympy.limit(top / bottom, X, at))
