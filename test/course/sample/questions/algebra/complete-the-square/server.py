"""Vertex form. parse() refuses the expanded form, which is equal but not an answer."""

import random

import sympy
from prairie import expressions

X = sympy.Symbol("x")


def generate(data):
    p, q = random.choice([-6, -5, -4, -3, -2, 2, 3, 4, 5, 6]), random.randint(-20, 20)
    data["params"]["expanded"] = expressions.show(sympy.expand((X + p) ** 2 + q))
    data["correct_answers"]["square"] = f"(x {p:+d})^2 {q:+d}"
    data["correct_answers"]["q"] = q


def parse(data):
    answer = data["submitted_answers"].get("square")
    if answer and "^2" in answer and ")^2" not in answer:
        data["format_errors"]["square"] = "Write a square of a bracket, such as (x + 3)^2 - 4."
