"""Two parts, and info.json says partialCredit false: one wrong part loses all."""

import itertools
import random


def generate(data):
    p, q = random.choice([("p", "q"), ("not p", "q"), ("p", "not q"), ("not p", "not q")])
    formula = f"{p} and {q}"
    rows = []
    for values in itertools.product((False, True), repeat=2):
        value = eval(formula, {"p": values[0], "q": values[1]})
        rows.append({"p": str(values[0]).lower(), "q": str(values[1]).lower(), "right": str(value).lower()})
    data["params"]["formula"], data["params"]["rows"] = formula, rows
    data["correct_answers"]["false"] = 3
