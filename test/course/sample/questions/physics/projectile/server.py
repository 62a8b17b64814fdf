"""Weights 2 and 1, and a card that uses an element extension."""

import math
import random

G = 9.81


def generate(data):
    speed, angle = random.randint(8, 30), random.choice([20, 25, 30, 35, 40, 45, 50, 55, 60])
    rad = math.radians(angle)
    data["params"].update(speed=speed, angle=angle)
    data["correct_answers"]["range"] = round(speed**2 * math.sin(2 * rad) / G, 3)
    data["correct_answers"]["time"] = round(2 * speed * math.sin(rad) / G, 3)
