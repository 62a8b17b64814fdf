"""Reads files of other questions and of the course outside its chunks, by every way up. got must stay empty."""

import os

WAYS = ["/course", "../../..", "/proc/self/cwd/../../..", "/proc/1/root/course"]
FILES = ["questions/calculus/derivatives/cubic/server.py", "questions/words/caesar/words.txt", "infoCourse.json"]


def generate(data):
    got, refused = {}, {}
    for path in [f"{way}/{name}" for way in WAYS for name in FILES]:
        try:
            with open(path, encoding="utf-8") as source:
                got[path] = source.read(200)
        except OSError as error:
            refused[path] = type(error).__name__
    # Its own name is the only one that a listing may show.
    found = set()
    for way in WAYS:
        for folder, _, names in os.walk(f"{way}/questions"):
            found.update(os.path.relpath(os.path.join(folder, name), f"{way}/questions") for name in names)
    data["params"]["got"], data["params"]["refused"] = got, refused
    data["params"]["files"] = sorted(found)
