"""A picture from the question's own clientFilesQuestion."""

import math
import random


def generate(data):
    mass, angle = random.randint(2, 40), random.randint(8, 35)
    data["params"].update(mass=mass, angle=angle)
    data["correct_answers"]["friction"] = round(mass * 9.81 * math.sin(math.radians(angle)), 2)
