"""A small random program, run here for its answer, so that the two cannot differ."""

import contextlib
import io
import random

PROGRAM = """\
total = {start}
for n in range({low}, {high}, {step}):
    if n % {modulus} == 0:
        continue
    total = total {operator} n
print(total)
"""


def generate(data):
    low, step = random.randint(0, 4), random.randint(1, 3)
    code = PROGRAM.format(
        start=random.randint(0, 20),
        low=low,
        high=low + step * random.randint(4, 6),
        step=step,
        modulus=random.randint(2, 4),
        operator=random.choice("+-"),
    )
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, {})
    data["params"]["code"] = code
    data["correct_answers"]["output"] = printed.getvalue().strip()
