"""Exceptions, exits and tracebacks of course code."""

from __future__ import annotations

from support import SEED, CourseCase, forked, table


@table(
    [
        ("exception", "raise ValueError('so')", "generate() of q/server.py (/course/questions/q/server.py, line 2): ValueError: so"),
        ("without text", "raise KeyError", "KeyError"),
        ("several lines", "raise ValueError('a\\nb')", "ValueError: a b"),
        ("sys.exit(0)", "import sys; sys.exit(0)", "called sys.exit(0)"),
        ("sys.exit()", "import sys; sys.exit()", "called sys.exit(None)"),
        ("SystemExit", "raise SystemExit('bye')", "called sys.exit('bye')"),
        ("quit in a library", "import sys; f = sys.exit; f(3)", "called sys.exit(3)"),
        ("KeyboardInterrupt", "raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("SIGINT", "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(1)", "KeyboardInterrupt"),
        ("MemoryError", "raise MemoryError", "MemoryError"),
        ("a huge allocation", "bytearray(1 << 62)", "MemoryError"),
        ("recursion", "generate(data)", "RecursionError"),
        ("GeneratorExit", "raise GeneratorExit", "GeneratorExit"),
        ("own BaseException", "raise type('Odd', (BaseException,), {})('o')", "Odd: o"),
        ("hostile str", "raise type('Odd', (Exception,), {'__str__': lambda s: 1 / 0})()", "Odd: (its __str__ raised)"),
        ("exit in str", "raise type('Odd', (Exception,), {'__str__': lambda s: exit()})()", "its __str__ raised"),
        ("huge text", "raise ValueError('x' * 10**7)", "ValueError: xxx"),
        ("inside numbers", "import json; json.loads('{')", "line 2): JSONDecodeError"),
        ("wrong arguments", "len()", "TypeError"),
        ("assertion", "assert False, 'why'", "AssertionError: why"),
    ]
)  # fmt: skip
class Raised(CourseCase):
    """Whatever is raised is a question error, and the session goes on."""

    def check(self, body: str, message: str) -> None:
        self.question(f"def generate(data):\n  {body}\ndef grade(data): data['params']['on'] = 1")
        first, second = self.session([("question", "generate"), ("question", "grade")])
        self.assertFault(first, message)
        self.assertLess(len(first["message"]), 3000)
        self.assertLess(len(first["traceback"]), 33000)
        self.assertEqual(second["data"]["params"], {"on": 1})
        self.element(f"def grade(element_html, data):\n  {body.replace('generate(data)', 'grade(None, data)')}")
        self.assertFault(self.call("element", "grade", "x-a"), message.split(": ", 1)[-1].split("line 2): ")[-1])


@table(
    [
        ("syntax", "def generate(data:\n  pass", "SyntaxError"),
        ("indentation", "def generate(data):\npass", "IndentationError"),
        ("top level", "1/0", "(/course/questions/q/server.py, line 1): ZeroDivisionError"),
        ("exit at top level", "import sys; sys.exit(0)", "called sys.exit(0)"),
        ("import", "import nothing_like_this", "ModuleNotFoundError: No module named 'nothing_like_this'"),
        ("nul byte", "x = 1\0", ""),
        ("not utf-8", b"x = '\xff'", ""),
    ]
)
class BrokenModules(CourseCase):
    """A module that cannot run names its file and line, at every call again."""

    def check(self, source: object, message: str) -> None:
        self.write({"questions/q/info.json": "{}", "questions/q/server.py": source})
        self.write({"questions/q/question.html": ""})
        for answer in self.session([("question", "generate"), ("question", "grade"), ("phase", "generate")]):
            self.assertFault(answer, "q/server.py", message)


class Tracebacks(CourseCase):
    """Tracebacks show the course's frames and nothing else."""

    def test_frames_of_the_course_only(self) -> None:
        self.write({"serverFilesCourse/helper.py": "import json\ndef deep(): json.loads('{')"})
        self.question("import helper\ndef generate(data):\n    helper.deep()  # here")
        answer = self.call("question", "generate")
        lines = answer["traceback"].splitlines()
        self.assertEqual(lines[0], "Traceback (most recent call last):")
        frames = [line.strip() for line in lines if line.startswith("  File ")]
        self.assertEqual(frames, [
            'File "/course/questions/q/server.py", line 3, in generate',
            'File "/course/serverFilesCourse/helper.py", line 2, in deep',
        ])  # fmt: skip
        self.assertIn("helper.deep()", answer["traceback"])
        self.assertTrue(lines[-1].startswith("json.decoder.JSONDecodeError: "))

    def test_causes_are_trimmed_too(self) -> None:
        self.question(
            "import json\ndef generate(data):\n  try: json.loads('{')\n"
            "  except ValueError as exc: raise RuntimeError('outer') from exc"
        )
        trace = self.call("question", "generate")["traceback"]
        self.assertIn("direct cause", trace)
        self.assertNotIn("/usr/", trace)
        self.assertNotIn("/lib/", trace)
        self.assertEqual(trace.count('File "/course/'), 2)

    def test_a_syntax_error_shows_its_line(self) -> None:
        self.question("x = (\n")
        answer = self.call("question", "generate")
        self.assertIn('File "/course/questions/q/server.py", line 1', answer["traceback"])
        self.assertIn("line 1", answer["message"])

    def test_a_syntax_error_in_a_helper(self) -> None:
        self.write({"serverFilesCourse/helper.py": "\n\nx = = 1\n"})
        self.question("import helper\n")
        self.assertFault(self.call("question", "generate"), "/course/serverFilesCourse/helper.py, line 3")

    def test_elements_are_named(self) -> None:
        self.element("def render(element_html, data):\n  return data['nope']")
        self.question(None, "<x-a></x-a>")
        answer = self.call("phase", "render")
        self.assertFault(answer, "render() of element x-a (/course/elements/x-a/x-a.py, line 2): KeyError: 'nope'")

    def test_a_late_alarm_is_theirs(self) -> None:
        self.question(
            "import signal\ndef late(*_): raise TimeoutError('late')\n"
            "class Slow(dict):\n  def items(self):\n    signal.raise_signal(signal.SIGALRM)\n    return ()\n"
            "def generate(data):\n  signal.signal(signal.SIGALRM, late)\n  data['params'] = Slow(a=1)"
        )
        self.assertFault(self.call("question", "generate"), "TimeoutError: late")


@table([
    ("course code that reads", "raise OSError(errno.EIO, 'Input/output error')", True),
    ("stale file", "raise OSError(errno.ESTALE, 'Stale')", True),
    ("daemon gone", "raise OSError(errno.ENOTCONN, 'x', HERE + '/data.txt')", True),
    ("a socket's", "raise OSError(errno.ENOTCONN, 'x')", False),
    ("a file elsewhere", "raise OSError(errno.ETIMEDOUT, 'x', '/proc/x')", False),
    ("not there", "open(HERE + '/data.txt')", False),
    ("not allowed", "raise PermissionError(errno.EACCES, 'x', HERE)", False),
])  # fmt: skip
class Store(CourseCase):
    """A store that fails is our fault, wherever it strikes."""

    def check(self, body: str, ours: bool) -> None:
        self.question(f"import errno, os\nHERE = os.getcwd()\ndef generate(data):\n  {body}")
        if ours:
            with self.assertRaisesRegex(AssertionError, "StoreError: read the course"):
                self.call("question", "generate")
        else:
            self.assertEqual(self.call("question", "generate")["outcome"], "question_error")


class BrokenFiles(CourseCase):
    """Files of the shim's own reading that fail."""

    def test_a_directory_in_place_of_a_file(self) -> None:
        self.write({"questions/q/info.json": "{}", "questions/q/server.py/x": ""})
        self.assertFault(self.call("question", "generate"), "/course/questions/q/server.py: Is a directory")

    def test_reading_fails(self) -> None:
        self.question("def generate(data): pass")

        def work() -> None:
            import builtins
            import errno

            whole = builtins.open

            def broken(path: object, *rest: object, **more: object) -> object:
                if str(path).endswith("server.py"):
                    raise OSError(errno.EIO, "Input/output error", path)
                return whole(path, *rest, **more)

            builtins.open = broken
            self.inside([("question", "generate")], SEED, {})

        with self.assertRaisesRegex(AssertionError, "StoreError: read the course"):
            forked(work)


@table(
    [
        ("negative", -1), ("too large", 2**32), ("text", "5"), ("fraction", 1.5), ("boolean", True), ("list", []),
    ]
)  # fmt: skip
class BadSeeds(CourseCase):
    """A seed that cannot seed is said at every call."""

    def check(self, seed: object) -> None:
        self.question("def generate(data): pass")
        data = {**SEED, "variant_seed": seed}
        for answer in self.session([("question", "generate"), ("element", "render", "x-a")], data):
            self.assertFault(answer, 'data["variant_seed"] must be an integer from 0 to 2^32-1')
