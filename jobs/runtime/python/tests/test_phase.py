"""A whole phase in one call."""

from __future__ import annotations

import os
from typing import Any

from prairie import keys
from support import CourseCase, forked, table
from test_keys import full

SCORES = "def grade(element_html, data): data['partial_scores'] = data['params']['scores']"


@table([
    ("one", {"a": {"score": 0.5}}, {}, 0.5),
    ("mean", {"a": {"score": 1}, "b": {"score": 0}}, {}, 0.5),
    ("weights", {"a": {"score": 1, "weight": 3}, "b": {"score": 0}}, {}, 0.75),
    ("weight zero", {"a": {"score": 1, "weight": 0}}, {}, 0),
    ("none", {}, {}, 0),
    ("no score", {"a": {"feedback": "x"}, "b": {"score": 1}}, {}, 0.5),
    ("not a number", {"a": {"score": "1", "weight": "2"}, "b": {"score": 1}}, {}, 0.5),
    ("full", {"a": {"score": 1.0, "weight": 2}}, {}, 1),
    ("all or nothing: all", {"a": {"score": 1}, "b": {"score": 1}}, {"partialCredit": False}, 1),
    ("all or nothing: part", {"a": {"score": 1}, "b": {"score": 0.9}}, {"partialCredit": False}, 0),
    ("all or nothing: none", {}, {"partialCredit": False}, 0),
    ("partial credit said", {"a": {"score": 0.5}}, {"partialCredit": True}, 0.5),
])  # fmt: skip
class Score(CourseCase):
    """The score that partial scores make."""

    def check(self, scores: dict, info: dict, expected: float) -> None:
        import json

        self.element(SCORES + "\n" + SCORES.replace("grade", "test", 1))
        self.question(None, "<x-a></x-a>", info=json.dumps(info))
        for phase in ("grade", "test"):
            data = {**full(phase), "params": {"scores": scores}}
            answer = self.call("phase", phase, data=data)
            self.assertEqual(answer["outcome"], "ok", answer)
            self.assertEqual(repr(answer["data"]["score"]), repr(expected))


class Order(CourseCase):
    """mustache, markdown, elements, score, server.py, in that order."""

    def test_generate_is_server_py_alone(self) -> None:
        self.element("def prepare(h, d): raise ValueError")
        self.question("def generate(data): data['params']['x'] = 1", "{{#broken}}<x-a></x-a>")
        answer = self.call("phase", "generate")
        self.assertEqual(answer["data"]["params"], {"x": 1})

    def test_render(self) -> None:
        self.element("def render(element_html, data): return '<b>' + element_html.decode() + data['panel'] + '</b>'", "x-b")
        self.element("def render(element_html, data): return '<u>a</u><x-c></x-c>'")
        self.element("def prepare(element_html, data): pass", "x-c")
        self.question(
            "def render(data, html): return html.replace('2', 'two') + '!'",
            "<p>{{params.x}}</p><x-a>z</x-a> tail <x-c>gone</x-c><x-d>{{{params.h}}}</x-d>",
        )
        data = {**full("render"), "params": {"x": 2.0, "h": "<i>i</i>"}}
        answer = self.call("phase", "render", data=data)
        self.assertEqual(answer["html"], "<p>two</p><u>a</u> tail <x-d><i>i</i></x-d>!")
        self.assertEqual(answer["processed_elements"], ["x-a", "x-c"])

    def test_carriage_returns_reach_mustache(self) -> None:
        self.question("def render(data, html): return html.encode().hex()", "a\r\n{{#editable}}\r\n{{/editable}}\r\n")
        answer = self.call("phase", "render")
        self.assertEqual(answer["html"], b"a\r\n".hex())

    def test_panels(self) -> None:
        self.question(None, "{{panel}}")
        for panel in ("question", "submission", "answer"):
            answer = self.call("phase", "render", data={**full("render"), "panel": panel})
            self.assertEqual(answer["html"], panel)

    def test_elements_then_score_then_server(self) -> None:
        self.element("def grade(h, data): data['partial_scores']['a'] = {'score': 0.5}")
        self.question("def grade(data):\n  data['feedback']['seen'] = data['score']\n  data['score'] = 1", "<x-a></x-a>")
        data = self.call("phase", "grade", data=full("grade"))["data"]
        self.assertEqual((data["feedback"]["seen"], data["score"]), (0.5, 1))

    def test_javascript_stands_between_elements_and_server(self) -> None:
        self.element("def prepare(h, data): data['params'] = {'x': 2.0, 'b': (1,), 10: 1, 9: 1}")
        self.question("def prepare(data): data['params']['seen'] = str(data['params'])", "<x-a></x-a>")
        params = self.call("phase", "prepare")["data"]["params"]
        self.assertEqual(params["seen"], "{'9': 1, '10': 1, 'x': 2, 'b': [1]}")

    def test_elements_see_each_other_s_changes(self) -> None:
        self.element("def prepare(h, data): data['answers_names'][str(len(data['answers_names']))] = True")
        self.question(None, "<div><x-a><x-a></x-a></x-a></div><x-a></x-a>")
        data = self.call("phase", "prepare")["data"]
        self.assertEqual(data["answers_names"], {"0": True, "1": True, "2": True})

    def test_an_element_may_return_other_data(self) -> None:
        self.element("def prepare(h, data): return {**data, 'params': {'new': 1}}")
        self.question(None, "<x-a></x-a><x-a></x-a>")
        self.assertEqual(self.call("phase", "prepare")["data"]["params"], {"new": 1})

    def test_without_server_py_every_phase_works(self) -> None:
        self.question(None, "<p>x</p>")
        for phase in keys.PHASES:
            self.assertEqual(self.call("phase", phase, data=full(phase))["outcome"], "ok")

    def test_client_file_urls_in_render(self) -> None:
        self.write({"elementExtensions/x-a/e/info.json": "{}"})
        self.element(
            "def render(h, data):\n  o = data['options']\n"
            "  return o['client_files_element_url'] + ' ' + o['client_files_extensions_url']['e']"
        )
        self.question("def render(data, html): return html + str('client_files_element_url' in data['options'])", "<x-a></x-a>")
        options = {"course_element_files_url": "/e", "course_element_extension_files_url": "/x"}
        answer = self.call("phase", "render", data={**full("render"), "options": options})
        self.assertEqual(answer["html"], "/e/x-a/clientFilesElement /x/x-a/e/clientFilesExtensionFalse")

    def test_timings_name_every_part(self) -> None:
        self.element("import time\ndef render(h, d): time.sleep(0.01); return ''")
        self.question("def render(data, html): return html", "<markdown>a</markdown><x-a></x-a><x-a></x-a>")
        timings = self.call("phase", "render")["timings"]
        self.assertEqual(
            [t["name"] for t in timings], ["mustache", "markdown", "x-a", "x-a", "server.py load", "server.py"]
        )
        self.assertGreaterEqual(timings[2]["ms"], 10)

    def test_timings_of_a_phase_that_failed(self) -> None:
        self.element("def render(h, d): 1/0")
        self.question(None, "<p></p><x-a></x-a>")
        answer = self.call("phase", "render")
        self.assertFault(answer, "ZeroDivisionError")
        self.assertEqual([t["name"] for t in answer["timings"]], ["mustache", "x-a"])

    def test_pl_code_in_markdown(self) -> None:
        self.question(None, "<markdown>```py\nx\n```</markdown>")
        self.assertIn("<pre><code", self.call("phase", "render")["html"])
        self.element("def render(h, d): return '<u>code</u>'", "pl-code")
        self.assertEqual(self.call("phase", "render")["html"].strip(), "<u>code</u>")


class FormatErrors(CourseCase):
    """format_errors makes a submission ungradable, and an ungradable one is not graded."""

    def test_parse(self) -> None:
        self.element("def parse(h, data): data['format_errors']['a'] = 'no'")
        self.question("", "<x-a></x-a>")
        self.assertIs(self.call("phase", "parse", data=full("parse"))["data"]["gradable"], False)
        self.question("def parse(data): data['format_errors'].clear()", "<x-a></x-a>")
        self.assertIs(self.call("phase", "parse", data=full("parse"))["data"]["gradable"], True)

    def test_grade_of_what_is_not_gradable(self) -> None:
        self.question("def grade(data): 1/0")
        data = {**full("grade"), "gradable": False}
        answer = self.call("phase", "grade", data=data)
        self.assertEqual((answer["outcome"], answer["data"]), ("ok", data))

    def test_found_while_grading(self) -> None:
        self.question("def grade(data): data['format_errors']['a'] = 'late'")
        self.assertIs(self.call("phase", "grade", data=full("grade"))["data"]["gradable"], False)


@table([
    ("mustache", "{{#a}}", "{}", "q/question.html: Unclosed section"),
    ("element raises", "<x-a></x-a>", "{}", "render() of element x-a (/course/elements/x-a/x-a.py, line 1): ValueError: bad"),
    ("info.json", "", "{", "/course/questions/q/info.json"),
    ("info.json is no object", "", "[]", "/course/questions/q/info.json: not a JSON object"),
    ("other type", "", '{"type": "Calculation"}', "question 'q' is of type Calculation; only v3 questions run here"),
    ("not utf-8", b"\xff", "{}", "q/question.html"),
    ("html that lxml refuses", '<html><frameset></frameset></html><!-- -->', "{}", "the HTML cannot be parsed"),
])  # fmt: skip
class Faults(CourseCase):
    """What is wrong with a question is said with its file."""

    def check(self, html: Any, info: str, message: str) -> None:
        self.element("def render(element_html, data): raise ValueError('bad')")
        self.write({"questions/q/info.json": info, "questions/q/question.html": html})
        self.assertFault(self.call("phase", "render"), message)


class External(CourseCase):
    """Workspaces and external grading are declared, not run, here."""

    def test_they_do_not_break(self) -> None:
        info = '{"type": "v3", "workspaceOptions": {"image": "x"}, "externalGradingOptions": {"enabled": true}}'
        self.question("def generate(data): data['params']['x'] = 1", "<pl-workspace></pl-workspace>{{params.x}}", info=info)
        for phase in keys.PHASES:
            self.assertEqual(self.call("phase", phase, data=full(phase))["outcome"], "ok")
        answer = self.call("phase", "render", data={**full("render"), "params": {"x": 1}})
        self.assertEqual(answer["html"], "<pl-workspace></pl-workspace>1")

    def test_elements_of_prairielearn_are_asked_for_once(self) -> None:
        self.question(None, "<pl-a><pl-b></pl-b></pl-a><x-none></x-none>")
        answers = self.session([("phase", "prepare"), ("phase", "prepare")], full("prepare"))
        self.assertEqual([answer["outcome"] for answer in answers], ["ok", "ok"])
        self.assertEqual(
            forked.output, "q uses <pl-a>, <pl-b>: elements of PrairieLearn, which --prairielearn DIR provides\n"
        )
        self.call("phase", "render", prairielearn=self.root)
        self.assertEqual(forked.output, "")

    def test_prairielearn_s_package_is_asked_for(self) -> None:
        self.question("import prairielearn as pl")
        self.assertFault(self.call("phase", "generate"), "--prairielearn DIR provides it")

    def test_without_question_html(self) -> None:
        self.write({"questions/q/info.json": "{}"})
        self.assertFault(self.call("phase", "render"), "question 'q' has no question.html")
        self.assertEqual(self.call("phase", "generate")["outcome"], "ok")

    def test_deep_qids_and_default_names(self) -> None:
        self.question("def generate(data): data['params']['x'] = 1", qid="a/b/c")
        self.assertEqual(self.call("phase", "generate", "a/b/c")["data"]["params"], {"x": 1})
        self.assertEqual(self.call("phase", "generate", question="a/b/c")["data"]["params"], {"x": 1})
        self.assertEqual(self.call("phase", "generate", question=None)["code"], "question_missing")

    def test_two_sessions_of_one_seed_agree(self) -> None:
        self.question("import random\ndef generate(data): data['params']['x'] = random.getrandbits(64) % 997")
        seen = {str(self.call("phase", "generate")["data"]) for _ in range(3)}
        self.assertEqual(len(seen), 1)

    def test_tmp_is_writable(self) -> None:
        self.question(
            "import os, tempfile\ndef generate(data):\n"
            "  with tempfile.TemporaryFile() as f: f.write(b'x')\n"
            "  data['params']['ok'] = os.path.isdir(tempfile.gettempdir())"
        )
        self.assertEqual(self.call("phase", "generate")["data"]["params"], {"ok": True})
        self.assertTrue(os.path.isdir(self.root))


class Again(CourseCase):
    """A later session of the same process, as a rehearsal has."""

    def test_reads_no_file_of_the_course_again(self) -> None:
        self.element("def render(element_html, data): return '<b>b</b>'")
        self.question("def generate(data): data['params']['n'] = 1", "<x-a></x-a>{{params.n}}")

        def work() -> list:
            import sys

            from prairie import session

            opened: list = []
            watching = [True]
            root = self.root

            def hook(event: str, args: Any) -> None:
                if event == "open" and watching and isinstance(args[0], str) and args[0].startswith(root):
                    opened.append(args[0])

            sys.addaudithook(hook)
            counts, one = [], None
            for _ in range(2):
                one = session.Session({"course": root, "question": "q"}, one)
                data = {**full("render"), "params": {"n": 1}}
                one.seed(data)
                answer = one.call({"type": "phase", "method": "render"}, data)
                assert answer["html"] == "<b>b</b>1", answer
                counts.append(len(opened))
                opened.clear()
            watching.clear()
            return counts

        first, second = forked(work)
        self.assertGreater(first, 3)
        self.assertEqual(second, 0)
