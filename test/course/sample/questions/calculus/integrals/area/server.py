"""An integral by sympy, and its picture by file() as PNG bytes."""

import random

import numpy as np
import sympy
from prairie import drawing, expressions

X = sympy.Symbol("x")


def generate(data):
    a, b, to = random.randint(1, 4), random.randint(1, 9), random.randint(2, 5)
    f = a * X * (to - X) + b
    data["params"].update(a=a, b=b, to=to, f=expressions.show(sympy.expand(f)))
    data["correct_answers"]["area"] = round(float(sympy.integrate(f, (X, 0, to))), 4)


def file(data):
    if data["filename"] != "area.png":
        return None
    a, b, to = (data["params"][name] for name in ("a", "b", "to"))
    canvas = drawing.Canvas(360, 240)
    xs = np.linspace(0, to, 300)
    ys = a * xs * (to - xs) + b
    points = [(30 + i, 220 - round(190 * float(y) / float(ys.max()))) for i, y in enumerate(ys)]
    for x, y in points:
        canvas.line(x, y, x, 220, drawing.GREY)
    canvas.curve(points)
    canvas.line(20, 220, 350, 220)
    canvas.line(30, 10, 30, 230)
    return canvas.png()
