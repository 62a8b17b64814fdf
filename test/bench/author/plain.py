"""The peer: the same phases by the same library in one plain Python process, with nothing kept apart.

Reads one invocation a line, answers one result a line. What a course imports stays
loaded between calls, as in any process that lives on; server.py and controllers are
executed for each, as everywhere.
"""

import sys

sys.path.insert(0, sys.argv[1])

from prairie import session

session.preload()
session.warm()
before = [(place, list(place)) for place in (sys.meta_path, sys.path_hooks)], list(sys.path)
one = None
out = open(3, "wb", buffering=0)
for line in sys.stdin.buffer:
    for place, content in before[0]:
        place[:] = content  # or what sessions add to it piles up
    sys.path = list(before[1])
    invocation = session.decode(line)
    one = session.Session({"course": sys.argv[2], "question": invocation["question"]}, one)
    data = invocation["data"]
    one.seed(data)
    answers = []
    for call in invocation["calls"]:
        answer = one.call(call, data)
        data = answer.get("data", data)
        answers.append(answer)
    out.write(session.encode({"calls": answers}) + b"\n")
