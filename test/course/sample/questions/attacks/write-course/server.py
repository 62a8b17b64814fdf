"""Writes to the course, to the interpreter and beside them. got must stay empty."""

import os
import sys

if not os.path.isdir("/course/questions"):
    raise RuntimeError("never run outside a sandbox")

PATHS = [
    "server.py",
    "new.txt",
    "/course/new.txt",
    "/course/serverFilesCourse/prairie/grading.py",
    "/course/elements/ps-card/ps-card.py",
    "/etc/passwd",
    sys.executable,
    os.__file__,
]


def generate(data):
    got, refused = {}, {}
    for path in PATHS:
        try:
            with open(path, "ab") as target:
                target.write(b"\n")
            got[path] = "written"
        except OSError as error:
            refused[path] = type(error).__name__
    for path in ["server.py", "/course/elements"]:
        try:
            os.rename(path, path + ".old")
            got[f"rename {path}"] = "renamed"
        except OSError as error:
            refused[f"rename {path}"] = type(error).__name__
    data["params"]["got"], data["params"]["refused"] = got, refused
