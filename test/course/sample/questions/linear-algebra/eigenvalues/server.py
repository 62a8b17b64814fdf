"""Eigenvalues of a symmetric matrix, by numpy.linalg. All or nothing: info.json says partialCredit false."""

import numpy as np


def generate(data):
    a, b, d = (int(v) for v in np.random.randint(-4, 8, size=3))
    b = b or 1
    small, large = np.linalg.eigvalsh(np.array([[a, b], [b, d]], dtype=float))
    data["params"]["text"] = f"[[{a}, {b}], [{b}, {d}]]"
    data["correct_answers"]["small"] = round(float(small), 4)
    data["correct_answers"]["large"] = round(float(large), 4)
