"""Single calls of question and element functions, row by row."""

from __future__ import annotations

import base64
import os

from support import SEED, CourseCase, forked, session, table


@table(
    [
        ("mutated data", 'def generate(data):\n  data["params"]["a"] = 1', {"a": 1}),
        ("returned data", 'def generate(data):\n  return {**data, "params": {"b": 2}}', {"b": 2}),
        ("returned same", 'def generate(data):\n  data["params"]["c"] = 3\n  return data', {"c": 3}),
        ("integral float", 'def generate(data):\n  data["params"]["x"] = 2.0', {"x": 2}),
        ("minus zero", 'def generate(data):\n  data["params"]["x"] = -0.0', {"x": 0}),
        ("tuple", 'def generate(data):\n  data["params"]["x"] = (1, (2,))', {"x": [1, [2]]}),
        ("int keys", 'def generate(data):\n  data["params"] = {"b": 1, 10: 2, 9: 3}', {"9": 3, "10": 2, "b": 1}),
        ("nothing", "def generate(data):\n  pass", {}),
        ("large integral float", 'def generate(data):\n  data["params"]["x"] = 1e20', {"x": 1e20}),
        ("module variable", 'X = 4\ndef generate(data):\n  data["params"]["x"] = X', {"x": 4}),
        ("dataclass with string annotations",
         "from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\nclass P:\n  x: int\n"
         'def generate(data):\n  data["params"]["x"] = P(5).x', {"x": 5}),
    ]
)  # fmt: skip
class Generate(CourseCase):
    """What generate leaves is the next call's data."""

    def check(self, server: str, params: dict) -> None:
        self.question(server)
        answer = self.call("question", "generate")
        self.assertEqual(answer, {"outcome": "ok", "data": {**SEED, "params": params}})
        self.assertEqual(list(answer["data"]["params"]), list(params))
        for key, value in params.items():
            self.assertIs(type(answer["data"]["params"][key]), type(value))


@table(
    [
        ("nan", 'data["params"]["x"] = float("nan")', 'data["params"]["x"] is nan'),
        ("infinity", 'data["params"]["x"] = {"y": [1, float("inf")]}', 'data["params"]["x"]["y"][1] is inf'),
        ("large int", 'data["params"]["x"] = 2**53', 'data["params"]["x"] is an integer beyond 2^53-1'),
        ("negative large int", 'data["params"]["x"] = -2**53', "beyond 2^53-1"),
        ("set", 'data["params"]["x"] = {1}', 'data["params"]["x"] is of type set'),
        ("bytes", 'data["params"]["x"] = b""', "of type bytes"),
        ("function", 'data["params"]["x"] = len', "builtin_function_or_method"),
        ("itself", 'data["params"]["x"] = data', 'data["params"]["x"] contains itself'),
        ("tuple key", 'data["params"]["x"] = {(1,): 2}', 'data["params"]["x"] has a key of type tuple'),
        ("deep", 'x = data["params"]\n  for _ in range(100000): x["y"] = {}; x = x["y"]', "nested too deeply"),
        ("other type returned", "return 7", "returned int"),
        ("key removed", 'del data["params"]', 'data["params"] is missing after generate() of q/server.py'),
        ("returned without keys", "return {}", "is missing"),
        ("hostile items",
         "class D(dict):\n    def items(self): raise OSError('no')\n  data['params'] = D(a=1)", "OSError"),
    ]
)  # fmt: skip
class NotJSON(CourseCase):
    """What is not JSON is a question error that names the key."""

    def check(self, body: str, message: str) -> None:
        self.question(f"def generate(data):\n  {body}")
        self.assertFault(self.call("question", "generate"), message)


class Numpy(CourseCase):
    """numpy's scalars: floats are floats, integers are not integers."""

    def setUp(self) -> None:
        super().setUp()
        try:
            import numpy  # noqa: F401
        except ImportError:
            if os.environ.get("REQUIRE_ALL") == "1":
                raise
            self.skipTest("numpy is not installed")

    def test_float64_is_fine(self) -> None:
        self.question('import numpy as np\ndef generate(data):\n  data["params"]["x"] = np.float64(2.5)')
        self.assertEqual(self.call("question", "generate")["data"]["params"], {"x": 2.5})

    def test_int64_is_a_fault(self) -> None:
        self.question('import numpy as np\ndef generate(data):\n  data["params"]["x"] = np.int64(2)')
        self.assertFault(self.call("question", "generate"), 'data["params"]["x"] is of type numpy.int64')

    def test_array_is_a_fault(self) -> None:
        self.question('import numpy as np\ndef generate(data):\n  data["params"]["x"] = np.zeros(2)')
        self.assertFault(self.call("question", "generate"), "numpy.ndarray")


@table(
    [
        ("no question", ("question", "generate", "nope"), "question_missing"),
        ("part of a qid", ("question", "generate", "deep"), "question_missing"),
        ("traversal", ("question", "generate", "../questions/q"), "question_missing"),
        ("absolute", ("question", "generate", "/etc"), "question_missing"),
        ("nul", ("question", "generate", "q\0"), "question_missing"),
        ("empty segment", ("question", "generate", "deep//q"), "question_missing"),
        ("no function", ("question", "grade"), "method_missing"),
        ("not a phase", ("question", "helper"), "method_missing"),
        ("not callable", ("question", "parse"), "method_missing"),
        ("no server.py", ("question", "generate", "bare"), "method_missing"),
        ("no element", ("element", "render", "x-none", "<x-none></x-none>"), "element_missing"),
        ("element without html", ("element", "render"), "element_missing"),
        ("symlinked element", ("element", "render", "x-link"), "element_missing"),
        ("directory without info", ("element", "render", "x-bare"), "element_missing"),
        ("element traversal", ("element", "render", "../elements/x-a"), "element_missing"),
        ("no element function", ("element", "parse", "x-a"), "method_missing"),
        ("elements have no generate", ("element", "generate", "x-a"), "method_missing"),
        ("phase of no question", ("phase", "render", "nope"), "question_missing"),
        ("no such phase", ("phase", "dance"), "method_missing"),
        ("no such type", ("dance", "render"), "method_missing"),
    ]
)
class MissingThings(CourseCase):
    """What is not there is missing, not an error of the code."""

    def check(self, call: tuple, code: str) -> None:
        self.question("parse = 3\ndef helper(data): pass\ndef generate(data): pass")
        self.question("def generate(data): pass", qid="deep/q")
        self.question(None, qid="bare")
        self.element("def render(element_html, data): return ''\ndef generate(h, d): pass")
        self.write({"elements/x-bare/readme.txt": ""})
        os.symlink("x-a", f"{self.root}/elements/x-link")
        answer = self.call(*call)
        self.assertEqual((answer["outcome"], answer.get("code")), ("missing", code), answer)
        self.assertTrue(answer["message"])


@table(
    [
        ("bytes", 'return b"\\x00\\xff"', b"\x00\xff"),
        ("bytearray", 'return bytearray(b"ab")', b"ab"),
        ("str", 'return "é"', "é".encode()),
        ("none", "return None", b""),
        ("bytes file", 'import io; b = io.BytesIO(); b.write(b"xyz"); return b', b"xyz"),
        ("text file", 'import io; b = io.StringIO(); b.write("xyz"); return b', b"xyz"),
        ("temporary file",
         'import tempfile; f = tempfile.TemporaryFile(); f.write(b"t"); return f', b"t"),
        ("by name", 'return data["filename"]', b"a.txt"),
    ]
)  # fmt: skip
class File(CourseCase):
    """file returns bytes, a string, a file-like object or nothing."""

    def check(self, body: str, content: bytes) -> None:
        self.question(f"def file(data):\n  {body}")
        self.element(f"def file(element_html, data):\n  {body}")
        for call in (("question", "file"), ("element", "file", "x-a"), ("phase", "file")):
            data = {**SEED, "filename": "a.txt"}
            self.assertEqual(base64.b64decode(self.call(*call, data=data)["file"]), content)


class FileFaults(CourseCase):
    """What file must not return."""

    def test_number(self) -> None:
        self.question("def file(data): return 3")
        self.assertFault(self.call("question", "file"), "returned int, not bytes")

    def test_two_files_in_one_phase(self) -> None:
        self.question('def file(data): return "a"', "<x-a></x-a>")
        self.element('def file(element_html, data): return "b"')
        answer = self.call("phase", "file", data={**SEED, "filename": "f"})
        self.assertFault(answer, "returned a file, but an element already had")
        self.question(None, "<x-a></x-a><x-a></x-a>")
        answer = self.call("phase", "file", "q", data={**SEED, "filename": "f"})
        self.assertFault(answer, "returned a file, but")


class Render(CourseCase):
    """render answers HTML, not data."""

    def test_question_takes_two_arguments(self) -> None:
        self.question('def render(data, html): return html + str(data["params"])')
        self.assertEqual(self.call("question", "render", "q", "<p>")["html"], "<p>{}")

    def test_changes_to_data_are_dropped(self) -> None:
        self.question('def render(data, html):\n  data["params"]["s"] = {1, 2}\n  return "r"')
        self.assertEqual(self.call("question", "render"), {"outcome": "ok", "html": "r"})

    def test_none_is_a_fault_of_a_question(self) -> None:
        self.question("def render(data, html): pass")
        self.assertFault(self.call("question", "render"), "returned NoneType, not a string of HTML")

    def test_none_is_nothing_of_an_element(self) -> None:
        self.element("def render(element_html, data): pass")
        self.assertEqual(self.call("element", "render", "x-a"), {"outcome": "ok", "html": ""})

    def test_an_lxml_element_is_html(self) -> None:
        self.element("import lxml.html\ndef render(h, data): return lxml.html.fragment_fromstring('<b>x</b>')")
        self.assertEqual(self.call("element", "render", "x-a")["html"], "<b>x</b>")


@table(
    [
        ("two arguments", "def render(element_html, data)", "bytes"),
        ("legacy three", "def render(element_html, element_index, data)", "bytes None"),
        ("legacy other names", "def render(html, index, data)", "bytes None"),
        ("default is no legacy", "def render(element_html, data, extra='d')", "bytes"),
    ]
)
class ElementArguments(CourseCase):
    """Elements get bytes; the legacy index is None."""

    def check(self, head: str, expected: str) -> None:
        names = head[head.index("(") + 1 : -1].split(",")
        seen = f"type({names[0]}).__name__"
        if "None" in expected:
            seen += f" + ' ' + str({names[1].strip()})"
        self.element(f"{head}:\n  assert data['variant_seed'] == 7\n  return {seen}")
        self.question(None, "<x-a>é</x-a>")
        self.assertEqual(self.call("element", "render", "x-a")["html"], expected)
        self.assertEqual(self.call("phase", "render")["html"], expected)


class Elements(CourseCase):
    """How an element is found and what it sees."""

    def test_name_defaults_to_the_tag(self) -> None:
        self.element("def render(element_html, data): return element_html.decode()")
        answer = self.call("element", "render", "", '<x-a answers-name="é">ü</x-a>')
        self.assertEqual(answer["html"], '<x-a answers-name="&#233;">&#252;</x-a>')

    def test_controller_is_named_in_info_json(self) -> None:
        self.write({"elements/x-b/info.json": '{"controller": "other.py"}'})
        self.write({"elements/x-b/other.py": "def render(element_html, data): return 'other'"})
        self.assertEqual(self.call("element", "render", "x-b")["html"], "other")

    def test_faulty_info_json_is_named(self) -> None:
        self.write({"elements/x-b/info.json": "{"})
        self.assertFault(self.call("element", "render", "x-b"), "/course/elements/x-b/info.json")
        self.write({"elements/x-b/info.json": '{"controller": 3}'})
        self.assertFault(self.call("element", "render", "x-b"), "/course/elements/x-b/info.json")

    def test_missing_controller_is_named(self) -> None:
        self.write({"elements/x-b/info.json": "{}"})
        self.assertFault(self.call("element", "render", "x-b"), "x-b.py is not there")

    def test_extensions(self) -> None:
        self.write({"elementExtensions/x-a/e/info.json": '{"controller": "e.py"}'})
        self.write({"elementExtensions/x-a/none/readme": ""})
        self.element("import json\ndef render(h, data): return json.dumps(data['extensions'])")
        self.question(None, "<x-a></x-a>")
        directory = f"{self.root}/elementExtensions/x-a/e"
        expected = f'{{"e": {{"name": "e", "directory": "{directory}", "controller": "e.py"}}}}'
        self.assertEqual(self.call("element", "render", "x-a")["html"], expected)
        self.assertEqual(self.call("phase", "render")["html"].replace("&quot;", '"'), expected)

    def test_urls_while_rendering(self) -> None:
        self.element("def render(h, data): return data['options']['client_files_element_url']")
        data = {"options": {"course_element_files_url": "/e"}}
        self.assertEqual(self.call("element", "render", "x-a", data=data)["html"], "/e/x-a/clientFilesElement")

    def test_info_json_with_a_byte_order_mark(self) -> None:
        self.write({"elements/x-b/info.json": b'\xef\xbb\xbf{"controller": "c.py"}'})
        self.write({"elements/x-b/c.py": "def render(h, d): return 'c'"})
        self.assertEqual(self.call("element", "render", "x-b")["html"], "c")

    def test_a_lent_key_is_not_handed_back(self) -> None:
        self.element("def grade(h, data): data['options']['mine'] = len(data['extensions'])")
        data = {"params": {}, "options": {"question_path": "kept"}, "partial_scores": {}}
        answer = self.call("element", "grade", "x-a", data=data)
        self.assertEqual(answer["data"]["options"], {"question_path": "kept", "mine": 0})
        self.assertNotIn("extensions", answer["data"])


class Options(CourseCase):
    """The paths of data["options"], as course code sees them."""

    def test_paths(self) -> None:
        self.question("def generate(data): data['params'] = dict(data['options'])", qid="a/b")
        answer = self.call("question", "generate", "a/b")
        self.assertEqual(answer["data"]["params"], {
            "question_path": f"{self.root}/questions/a/b",
            "client_files_question_path": f"{self.root}/questions/a/b/clientFilesQuestion",
            "client_files_course_path": f"{self.root}/clientFilesCourse",
            "server_files_course_path": f"{self.root}/serverFilesCourse",
            "course_extensions_path": f"{self.root}/elementExtensions",
        })  # fmt: skip
        self.assertNotIn("options", answer["data"])

    def test_the_caller_s_own_paths_come_back(self) -> None:
        self.question("def generate(data): data['params']['p'] = data['options']['question_path']")
        data = {**SEED, "options": {"question_path": "/elsewhere", "base_url": "/u"}}
        answer = self.call("question", "generate", data=data)
        self.assertEqual(answer["data"]["params"]["p"], f"{self.root}/questions/q")
        self.assertEqual(answer["data"]["options"], data["options"])


class Sessions(CourseCase):
    """What calls of one session share."""

    def test_after_a_fault_the_data_is_that_of_before(self) -> None:
        self.question(
            "def generate(data): data['params']['a'] = 1\n"
            "def prepare(data):\n  data['params']['b'] = 2\n  raise ValueError('x')\n"
            "def grade(data): data['params']['c'] = 3"
        )
        calls = [("question", m) for m in ("generate", "prepare", "grade")]
        first, second, third = self.session(calls)
        self.assertEqual([first["outcome"], second["outcome"]], ["ok", "question_error"])
        self.assertEqual(third["data"]["params"], {"a": 1, "c": 3})

    def test_the_caller_s_data_is_never_touched(self) -> None:
        self.question("def generate(data): data['params']['a'] = data['variant_seed'] = 1")

        def work() -> dict:
            data = {"params": {"deep": [1]}, "variant_seed": 7}
            session.Session({"course": self.root, "question": "q"}).call(
                {"type": "question", "method": "generate"}, data
            )
            return data

        self.assertEqual(forked(work), {"params": {"deep": [1]}, "variant_seed": 7})

    def test_output_is_flushed_after_every_call(self) -> None:
        self.question("def generate(data): print('said')")

        def work() -> None:
            one = session.Session({"course": self.root, "question": "q"})
            one.call({"type": "question", "method": "generate"}, SEED)

        forked(work)
        self.assertEqual(forked.output, "said\n")

    def test_functions_run_on_the_main_thread(self) -> None:
        self.question(
            "import signal, threading, time\n"
            "def generate(data):\n"
            "  def late(*_): raise TimeoutError('late')\n"
            "  signal.signal(signal.SIGALRM, late)\n"
            "  signal.setitimer(signal.ITIMER_REAL, 0.02)\n"
            "  try: time.sleep(5)\n"
            "  except TimeoutError: data['params']['late'] = True\n"
            "  data['params']['main'] = threading.current_thread() is threading.main_thread()"
        )
        answer = self.call("question", "generate")
        self.assertEqual(answer["data"]["params"], {"late": True, "main": True})

    def test_data_must_be_an_object(self) -> None:
        self.question("def generate(data): pass")
        self.assertFault(self.call("question", "generate", data=[1]), "data is not an object")

    def test_a_result_over_the_limit(self) -> None:
        self.question("def generate(data): data['params']['x'] = 'y' * 5000\ndef render(d, h): return 'x' * 5000")
        for method in ("generate", "render"):
            answer = self.call("question", method, max_result=1000)
            self.assertEqual(answer["outcome"], "output_too_large")
            self.assertIn("the limit is 1000", answer["message"])
