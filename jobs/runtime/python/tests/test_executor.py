"""PrairieLearn's executor line."""

from __future__ import annotations

import base64
import random
from typing import Any

from support import SEED, CourseCase, forked, table


def line(kind: str = "question", **more: Any) -> dict:
    """Return a line with the usual fields."""
    return {"type": kind, "directory": "q", "file": "server", "fcn": "generate", "args": [SEED], **more}


@table([
    ("generate", line(), {**SEED, "params": {"x": 1}}),
    ("with suffix", line(file="server.py"), {**SEED, "params": {"x": 1}}),
    ("render", line(fcn="render", args=[{"params": {}}, "<p>"]), "<p>r"),
    ("file", line(fcn="file"), base64.b64encode(b"f").decode()),
    ("course element", line("course-element", directory="x-a", file="x-a", fcn="render", args=["<x-a></x-a>", SEED]), "bytes"),
    ("legacy arguments", line("course-element", directory="x-b", file="x-b", fcn="render", args=["<x-b></x-b>", SEED]), "None"),
    ("ping", {"file": None, "fcn": "ping"}, "pong"),
])  # fmt: skip
class Answers(CourseCase):
    """The value of a line is its data."""

    def check(self, one: dict, expected: Any) -> None:
        self.question(
            "def generate(data): data['params']['x'] = 1\ndef render(data, html): return html + 'r'\n"
            "def file(data): return b'f'"
        )
        self.element("def render(element_html, data): return type(element_html).__name__")
        self.element("def render(element_html, element_index, data): return str(element_index)", "x-b")
        (answer,) = self.executor(one)
        self.assertEqual(answer["data"], expected, answer)
        self.assertEqual((answer["functionMissing"], answer["error"], answer["errorData"]), (False, None, None))


class Session(CourseCase):
    """Lines share a session, and its stream."""

    def test_missing_function(self) -> None:
        self.question("")
        (answer,) = self.executor(line())
        self.assertEqual((answer["functionMissing"], answer["error"], answer["data"]), (True, None, None))

    def test_missing_question_is_an_error(self) -> None:
        (answer,) = self.executor(line(directory="nope"))
        self.assertIn("nope", answer["error"])
        self.assertEqual(answer["functionMissing"], False)

    def test_error(self) -> None:
        self.question("def generate(data): 1/0\ndef grade(data): pass")
        first, second = self.executor(line(), line(fcn="grade"))
        self.assertIn("ZeroDivisionError", first["error"])
        self.assertIn('"/course/questions/q/server.py", line 1', first["errorData"]["outputBoth"])
        self.assertEqual(second["data"], SEED)

    def test_seeded_by_the_first_data(self) -> None:
        self.question("import random\ndef generate(data): data['params']['r'] = random.random()")
        random.seed(7)
        expected = [random.random(), random.random()]
        answers = self.executor(line(), line(args=[{**SEED, "variant_seed": 9}]))[:1]
        self.assertEqual(answers[0]["data"]["params"]["r"], expected[0])
        second = self.executor(line(), line())[1]
        self.assertEqual(second["data"]["params"]["r"], expected[1])

    def test_server_render_seeds_nothing(self) -> None:
        self.question("import random\ndef render(data, html): return str(random.random())")

        def work() -> list:
            random.seed(123)
            from prairie import session

            one = session.Session({"course": self.root})
            return [one.executor(line(fcn="render", args=[SEED, ""]))["data"]]

        random.seed(123)
        self.assertEqual(forked(work), [str(random.random())])

    def test_a_seed_that_cannot_seed(self) -> None:
        self.question("def generate(data): pass")
        for answer in self.executor(line(args=[{**SEED, "variant_seed": -1}]), line()):
            self.assertIn("must be an integer from 0 to 2^32-1", answer["error"])

    def test_the_key_table_binds(self) -> None:
        self.question("def generate(data): data['variant_seed'] = 8\ndef grade(data): data['extra'] = 1")
        first, second = self.executor(line(), line(fcn="grade"))
        self.assertIn('data["variant_seed"] has been illegally modified', first["error"])
        self.assertIn("extra key", second["error"])

    def test_faulty_lines_are_answers(self) -> None:
        self.question("")
        for one in ({}, line(args=None), line(args=[]), line(file="../x"), line("course-element", directory=".."),
                    line("core-element", directory="pl-x"), line("course-element", directory="x-none"), line(file="question.html"), {"args": 3, "file": 4}):  # fmt: skip
            (answer,) = self.executor(one)
            self.assertTrue(answer["error"], one)


class ElementPhase(CourseCase):
    """file: "question.html" runs a whole element phase."""

    def line(self, fcn: str, html: str, data: dict, **context: Any) -> dict:
        elements = {
            "x-a": {"name": "x-a", "controller": "x-a.py", "type": "course"},
            "x-old": {"name": "x-a", "controller": "x-a", "type": "course"},
        }
        context = {"html": html, "elements": elements, "element_extensions": {}, "course_path": "/course", **context}
        return line(file="question.html", fcn=fcn, args=[context, data])

    def test_render(self) -> None:
        self.element("def render(h, data): return '<b>' + str(len(data['extensions'])) + '</b>'")
        self.question(None)
        extensions = {"x-a": {"e": {"name": "e"}}}
        (answer,) = self.executor(
            self.line("render", "a<x-a></x-a><x-none>n</x-none><x-old></x-old>", {**SEED, "options": {}}, element_extensions=extensions)
        )
        value = answer["data"]
        self.assertEqual(value["html"], "a<b>1</b><x-none>n</x-none><b>1</b>")
        self.assertEqual(value["processed_elements"], ["x-a", "x-old"])
        self.assertEqual((value["file"], value["data"]), (None, {**SEED, "options": {}}))
        self.assertEqual([t["name"] for t in answer["timings"]], ["x-a", "x-old"])

    def test_prepare_and_file(self) -> None:
        self.element("def prepare(h, data): data['params']['p'] = 2.0\ndef file(h, data): return data['filename']")
        self.question(None)
        first, second = self.executor(
            self.line("prepare", "<x-a></x-a>", {**SEED, "options": {}}),
            self.line("file", "<x-a></x-a>", {**SEED, "options": {}, "filename": "n"}),
        )
        self.assertEqual((first["data"]["data"]["params"], first["data"]["html"]), ({"p": 2}, None))
        self.assertEqual(second["data"]["file"], base64.b64encode(b"n").decode())

    def test_illegal_change(self) -> None:
        self.element("def prepare(h, data): data['variant_seed'] = 1")
        self.question(None)
        (answer,) = self.executor(self.line("prepare", "<x-a></x-a>", {**SEED, "options": {}}))
        self.assertIn('data["variant_seed"] has been illegally modified by prepare() of element x-a', answer["error"])
