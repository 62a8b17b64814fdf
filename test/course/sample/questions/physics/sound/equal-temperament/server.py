"""file() answers an open file that was written to its end: a quarter of a second of sound."""

import io
import math
import random
import struct
import wave

RATE = 8000


def generate(data):
    steps = random.choice([n for n in range(1, 24) if n != 12])
    data["params"]["steps"] = steps
    data["correct_answers"]["pitch"] = round(440 * 2 ** (steps / 12), 2)


def file(data):
    pitch = 440 * 2 ** (data["params"]["steps"] / 12)
    samples = [round(12000 * math.sin(2 * math.pi * pitch * i / RATE)) for i in range(RATE // 4)]
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes(struct.pack(f"<{len(samples)}h", *samples))
    return out
