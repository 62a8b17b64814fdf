"""Small courses in a temporary directory, and sessions in processes of their own.

Guarantees: every session runs in a fresh fork, as it does in production, so no
test sees another's modules, path, seed or working directory. `table` turns each
row into a test method of its own, so that a failure names its row.
"""

from __future__ import annotations

import os
import pickle
import re
import shutil
import sys
import tempfile
import traceback
import unittest
from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from prairie import session  # noqa: E402

session.preload()

SEED = {"params": {}, "correct_answers": {}, "variant_seed": 7}


def table(rows: Iterable[Tuple[Any, ...]]) -> Callable[[Any], Any]:
    """Decorate a class: each row (name, ...) becomes a method that calls check(*rest)."""

    def decorate(cls: Any) -> Any:
        for number, (name, *rest) in enumerate(rows):
            method = lambda self, rest=rest: self.check(*rest)  # noqa: E731
            setattr(cls, f"test_{number:03}_{re.sub('[^A-Za-z0-9]+', '_', name)}", method)
        return cls

    return decorate


def forked(work: Callable[[], Any]) -> Any:
    """Return what work returns in a child process; its output is in forked.output."""
    reader, writer = os.pipe()
    with tempfile.TemporaryFile() as console:
        child = os.fork()
        if child == 0:
            try:
                os.close(reader)
                os.dup2(console.fileno(), 1)
                os.dup2(console.fileno(), 2)
                sys.stdout = open(1, "w", closefd=False)
                sys.stderr = open(2, "w", closefd=False)
                try:
                    answer = ("ok", work())
                except BaseException:
                    answer = ("raised", traceback.format_exc())
                with open(writer, "wb") as pipe:
                    pickle.dump(answer, pipe)
            finally:
                os._exit(0)
        os.close(writer)
        with open(reader, "rb") as pipe:
            raw = pipe.read()
        os.waitpid(child, 0)
        console.seek(0)
        forked.output = console.read().decode()
    if not raw:
        raise AssertionError("the process ended without an answer; it wrote " + forked.output)
    kind, value = pickle.loads(raw)
    if kind == "raised":
        raise AssertionError("the session itself raised:\n" + value)
    return value


class CourseCase(unittest.TestCase):
    """A test with a course of its own, removed afterwards."""

    maxDiff = None
    files: Dict[str, str] = {}

    def setUp(self) -> None:
        self.root = os.path.realpath(tempfile.mkdtemp(prefix="course-"))
        self.addCleanup(shutil.rmtree, self.root)
        self.write(self.files)

    def write(self, files: Dict[str, Any], root: Optional[str] = None) -> None:
        """Write files below the course root; a value that is not bytes is text."""
        for name, content in files.items():
            path = os.path.join(root or self.root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(content if isinstance(content, bytes) else content.encode())

    def question(self, server: Optional[str] = None, html: str = "", qid: str = "q", info: str = "{}") -> None:
        """Write one question."""
        self.write({f"questions/{qid}/info.json": info, f"questions/{qid}/question.html": html})
        if server is not None:
            self.write({f"questions/{qid}/server.py": server})

    def element(self, controller: str, name: str = "x-a") -> None:
        """Write one element with the default controller name."""
        self.write({f"elements/{name}/info.json": "{}", f"elements/{name}/{name}.py": controller})

    def session(self, calls: List[Tuple[str, ...]], data: Any = None, **config: Any) -> List[dict]:
        """Run calls (type, method[, name[, html]]) in one session, threading data through them."""

        def work() -> List[dict]:
            return self.inside(calls, SEED if data is None else data, config)

        return forked(work)

    def inside(self, calls: List[Tuple[str, ...]], data: Any, config: dict) -> List[dict]:
        """The body of a session; what a zygote does after the fork."""
        one = session.Session({"course": self.root, "question": "q", **config})
        one.seed(data)
        answers = []
        for kind, method, *rest in calls:
            call = {"type": kind, "method": method, "name": rest[0] if rest else None}
            call["html"] = rest[1] if len(rest) > 1 else None
            answer = one.call(call, data)
            session.encode(answer)
            data = answer.get("data", data)
            answers.append(answer)
        return answers

    def call(self, *call: str, data: Any = None, **config: Any) -> dict:
        """Run one call in a session of its own."""
        return self.session([call], data, **config)[0]

    def executor(self, *lines: dict, **config: Any) -> List[dict]:
        """Run executor lines in one session."""

        def work() -> List[dict]:
            one = session.Session({"course": self.root, "question": "q", **config})
            return [one.executor(line) for line in lines]

        return forked(work)

    def assertFault(self, answer: dict, *parts: str) -> None:
        """Assert a question error whose message holds every part."""
        self.assertEqual(answer["outcome"], "question_error", answer)
        for part in parts:
            self.assertIn(part, answer["message"])
        self.assertNotIn("\n", answer["message"])
        for text in (answer["message"], answer["traceback"]):
            self.assertNotIn("/prairie/", text)
            self.assertNotIn(self.root, text)
