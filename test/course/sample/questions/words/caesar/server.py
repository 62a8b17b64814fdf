"""A word behind a shifted alphabet. The words are a file beside this one."""

import pathlib
import random
import string

WORDS = pathlib.Path("words.txt").read_text("utf-8").split()


def generate(data):
    word, shift = random.choice(WORDS), random.randint(2, 24)
    letters = string.ascii_lowercase
    data["params"]["shift"] = shift
    data["params"]["secret"] = word.translate(str.maketrans(letters, letters[shift:] + letters[:shift]))
    data["correct_answers"]["word"] = word
