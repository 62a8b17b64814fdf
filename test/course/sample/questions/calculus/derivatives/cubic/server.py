"""The derivative of a random cubic, and its slope at a point.

Every function of a question is here, so that this one question exercises all
of them. The answers are numbers and strings, which survive JSON, and each
function also works on a data object with no more than the keys it needs.
"""

import random

import numpy as np
import sympy
from prairie import expressions, grading

WEIGHTS = {"derivative": 2, "slope": 1}
X = sympy.Symbol("x")


def generate(data):
    lead = random.choice([-3, -2, -1, 1, 2, 3])
    roots = [int(root) for root in np.random.randint(-5, 6, size=3)]
    at = random.randint(-3, 3)

    factored = sympy.Mul(lead, *[X - root for root in roots], evaluate=False)
    cubic = sympy.expand(lead * (X - roots[0]) * (X - roots[1]) * (X - roots[2]))
    derivative = sympy.diff(cubic, X)

    data["params"]["lead"] = lead
    data["params"]["roots"] = roots
    data["params"]["at"] = at
    data["params"]["factored"] = expressions.show(factored)
    data["params"]["expanded"] = expressions.show(cubic)
    data["params"]["latex"] = sympy.latex(cubic)
    # np.polyval on plain floats: an np.int64 is not JSON.
    data["params"]["value"] = float(np.polyval([float(c) for c in sympy.Poly(cubic, X).all_coeffs()], at))
    data["correct_answers"] = {
        "derivative": expressions.show(derivative),
        "slope": int(derivative.subs(X, at)),
    }


def prepare(data):
    data["params"]["degree"] = 3


def render(data, html):
    panel = data.get("panel", "question")
    return f'<div class="cubic cubic-{panel}">{html}</div>'


def parse(data):
    """An answer that contains no x where the derivative has one is a format error, not a wrong answer."""
    errors = data.setdefault("format_errors", {})
    answer = data["submitted_answers"].get("derivative")
    if "derivative" in errors:
        return
    try:
        value = expressions.read(str(answer or ""))
    except expressions.ExpressionError as error:
        errors["derivative"] = str(error)
        return
    if not value.has(X):
        errors["derivative"] = "The derivative of a cubic depends on x."
        return
    data["submitted_answers"]["derivative"] = expressions.show(value)


def grade(data):
    """The derivative earns half when its leading term is right; the slope is right or wrong."""
    answers, wanted = data["submitted_answers"], data["correct_answers"]
    given = sympy.expand(expressions.read(str(answers["derivative"])))
    right = expressions.read(wanted["derivative"])
    if expressions.same(given, right):
        grading.award(data, "derivative", 1, WEIGHTS["derivative"])
    elif given.is_polynomial(X) and sympy.LT(given, X) == sympy.LT(right, X):
        grading.award(data, "derivative", 0.5, WEIGHTS["derivative"], "The leading term is right.")
    else:
        grading.award(data, "derivative", 0, WEIGHTS["derivative"])
    slope_right = grading.close(float(answers["slope"]), wanted["slope"], rtol=1e-3)
    grading.award(data, "slope", 1 if slope_right else 0, WEIGHTS["slope"])
    data["score"] = grading.weighted_mean(data["partial_scores"])
    data.setdefault("feedback", {})["cubic"] = "Well done!" if data["score"] == 1 else "Differentiate term by term."


def test(data):
    wanted, kind = data["correct_answers"], data["test_type"]
    raw = data["raw_submitted_answers"]
    if kind == "correct":
        raw["derivative"], raw["slope"] = wanted["derivative"], str(wanted["slope"])
        data["partial_scores"] = {name: {"score": 1, "weight": weight} for name, weight in WEIGHTS.items()}
        data["score"] = 1
    elif kind == "incorrect":
        # The leading term is right: half of the derivative's two thirds.
        raw["derivative"], raw["slope"] = wanted["derivative"] + " + 1", str(wanted["slope"] + 1)
        data["partial_scores"] = {
            "derivative": {"score": 0.5, "weight": 2, "feedback": "The leading term is right."},
            "slope": {"score": 0, "weight": 1},
        }
        data["score"] = grading.weighted_mean(data["partial_scores"])
    else:
        raw["derivative"], raw["slope"] = "3", "steep"
        data["format_errors"]["derivative"] = "The derivative of a cubic depends on x."
        data["format_errors"]["slope"] = ""
        data["partial_scores"] = {}


def file(data):
    """The question's facts as a text file, for whoever asks for cubic.txt."""
    if data["filename"] == "cubic.txt":
        return f"f(x) = {data['params']['expanded']}\n"
    return None
