"""A histogram drawn by hand: the counts are params, file() turns them into a PNG."""

import numpy as np
from prairie import drawing

BINS = 6


def generate(data):
    while True:
        sample = np.random.beta(*np.random.uniform(1.5, 4, size=2), size=120)
        counts, _ = np.histogram(sample, bins=BINS, range=(0, 1))
        order = np.sort(counts)
        if order[-1] >= order[-2] + 4:
            break
    highest = int(counts.argmax())
    data["params"].update(size=len(sample), bins=BINS, counts=counts.tolist())
    data["params"]["choices"] = [
        {"number": i + 1, "right": "true" if i == highest else "false"} for i in range(BINS)
    ]


def file(data):
    counts = data["params"]["counts"]
    canvas = drawing.Canvas(400, 220)
    for i, count in enumerate(counts):
        left, top = 20 + 60 * i, 200 - round(180 * count / max(counts))
        canvas.rectangle(left, top, left + 56, 200, drawing.BLUE)
    canvas.line(10, 200, 390, 200)
    return canvas.png()
