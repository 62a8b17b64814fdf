"""Two answers of different kinds. parse() refuses digits other than 0 and 1."""

import random


def generate(data):
    number, other = random.sample(range(17, 128), 2)
    data["params"]["number"], data["params"]["bits"] = number, f"{other:b}"
    data["correct_answers"]["binary"], data["correct_answers"]["decimal"] = f"{number:b}", other


def parse(data):
    answer = data["submitted_answers"].get("binary")
    if answer and not set(answer) <= set("01 b"):
        data["format_errors"]["binary"] = "Binary digits are 0 and 1."


def test(data):
    # The element's own wrong answer ("not 1011") is no binary number at all.
    if data["test_type"] == "incorrect":
        data["raw_submitted_answers"]["binary"] = f"{data['params']['number'] ^ 1:b}"
