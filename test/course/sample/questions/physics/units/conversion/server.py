"""A number with a unit. The element takes any text; parse() here decides what is a quantity.

Every refusal is a format error, so nothing is graded: no number, no unit, an
unknown unit, or one that measures something else.
"""

import random

from prairie import grading, units

TASKS = [("km/h", "m/s"), ("m/s", "km/h"), ("mi", "km"), ("ft", "cm"), ("lb", "kg"), ("h", "min")]


def generate(data):
    unit, target = random.choice(TASKS)
    value = random.randint(3, 90)
    kind = units.UNITS[unit][0]
    si = round(units.convert(value, unit, target) * units.UNITS[target][1], 6)
    data["params"].update(value=value, unit=unit, target=target, kind=kind)
    data["correct_answers"].update(si=si, text=f"{units.convert(value, unit, target):.4g} {target}")


def parse(data):
    if "quantity" in data["format_errors"]:
        return
    try:
        units.read(data["submitted_answers"].get("quantity"), data["params"]["kind"])
    except units.UnitError as error:
        data["format_errors"]["quantity"] = str(error)


def grade(data):
    given = units.read(data["submitted_answers"]["quantity"], data["params"]["kind"])
    right = grading.close(given, data["correct_answers"]["si"], rtol=5e-3)
    asked = data["submitted_answers"]["quantity"].strip().endswith(data["params"]["target"])
    feedback = "" if asked or not right else f"Right, but {data['params']['target']} was asked for."
    grading.award(data, "quantity", 1 if right and asked else 0.5 if right else 0, 1, feedback)
    data["score"] = data["partial_scores"]["quantity"]["score"]


def test(data):
    raw, target = data["raw_submitted_answers"], data["params"]["target"]
    if data["test_type"] == "correct":
        raw["quantity"] = data["correct_answers"]["text"]
        data["partial_scores"]["quantity"] = {"score": 1, "weight": 1}
        data["score"] = 1
    elif data["test_type"] == "incorrect":
        raw["quantity"] = f"0.001 {target}"
        data["partial_scores"]["quantity"] = {"score": 0, "weight": 1}
        data["score"] = 0
    else:
        raw["quantity"] = "12 furlongs"
        data["format_errors"]["quantity"] = 'The unit "furlongs" is not known here.'
