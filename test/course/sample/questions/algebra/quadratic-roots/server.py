"""Two roots in either order: the elements grade by name, grade() forgives the swap."""

import random

from prairie import grading


def generate(data):
    first, second = sorted(random.sample(range(-9, 10), 2))
    data["params"]["equation"] = f"x^2 {-(first + second):+d}x {first * second:+d} = 0"
    data["correct_answers"]["first"], data["correct_answers"]["second"] = first, second


def grade(data):
    given = [float(data["submitted_answers"][name]) for name in ("first", "second")]
    wanted = [data["correct_answers"][name] for name in ("first", "second")]
    if all(grading.close(g, w, rtol=1e-3) for g, w in zip(given, reversed(wanted))):
        for name in ("first", "second"):
            grading.award(data, name, 1)
        data["score"] = 1
