"""Random course code: whatever it does, the session answers and stays whole."""

from __future__ import annotations

import random

from prairie import keys
from support import CourseCase
from test_keys import full

BODIES = [
    "pass",
    "return data",
    "return dict(data)",
    "return {}",
    "return 3",
    "return '<b>&lt;</b>'",
    "return '<x-b></x-b><x-a>'",
    "return '<!doctype html><frameset>'",
    "return b'bytes'",
    "return [data]",
    "data.clear()",
    "data['params'] = None",
    "data['params']['x'] = float('inf')",
    "data['params']['x'] = {1: {2: {3: object()}}}",
    "data['params'][None] = (1, 2.0)",
    "data['options'] = 7",
    "del data['options']",
    "data['extensions'] = 1",
    "data.pop('extensions', None)",
    "data['options']['question_path'] = object()",
    "data['partial_scores'] = {'a': 1, 'b': {'score': True}}",
    "data['partial_scores'] = {'a': {'score': 10**12, 'weight': -1}, 'b': {'score': 1, 'weight': 1}}",
    "data['format_errors'] = {'a': 'b'}",
    "raise ValueError(data)",
    "raise SystemExit",
    "raise KeyboardInterrupt",
    "raise StopIteration",
    "import sys; sys.path = None",
    "import sys; sys.path = []; sys.meta_path = []",
    "import sys; sys.stdout = None; sys.stderr = 3",
    "import sys; sys.modules.pop('json', None)",
    "import sys; sys.setrecursionlimit(60)",
    "import os; os.chdir('/')",
    "import os; os.environ.clear()",
    "import json; json.dumps = json.loads = None",
    "import random; random.seed = None",
    "import warnings; warnings.simplefilter('error')",
    "import gc; gc.disable()",
    "import threading; threading.Thread(target=print, args=('t',)).start()",
    "x = data; [x := x.setdefault('params', {}) for _ in range(3)]",
    "globals().clear()",
    "exec('def f(): f()\\nf()')",
    "yield data",
    "print('\\ud800')",
    "class D(dict):\n    __getitem__ = None\n  return D(data)",
    "class S(str):\n    def __str__(self): raise ValueError\n  return S('s')",
    "class R:\n    def read(self): return self\n    def seek(self, n): pass\n  return R()",
]
PIECES = ["<x-a>", "</x-a>", "<x-b>", "<p>", "</p>", "{{params.x}}", "{{#params}}", "{{/params}}", "t", "<!--", "-->", "<markdown>", "</markdown>", "*m*", "$a$", "&lt;", "<script>"]


class Monkey(CourseCase):
    """The session itself never raises, and its answers encode."""

    def test_random_course_code(self) -> None:
        rnd = random.Random(8)
        for _ in range(120):
            for name in ("x-a", "x-b"):
                self.element("".join(self.function(rnd, m, "element_html, data") for m in keys.PHASES), name)
            server = "".join(self.function(rnd, m, "data, html=None") for m in keys.PHASES)
            html = "".join(rnd.choice(PIECES) for _ in range(rnd.randrange(9)))
            self.question(server, html)
            calls = []
            for method in rnd.sample(keys.PHASES, 4):
                kind = rnd.choice(["phase", "phase", "question", "element"])
                calls.append((kind, method, "x-a" if kind == "element" else "q", html))
            for answer in self.session(calls, {**full("render"), "filename": "f", "test_type": "correct"}):
                self.assertIn(answer["outcome"], ("ok", "question_error", "missing"), (server, calls))

    def function(self, rnd: random.Random, method: str, arguments: str) -> str:
        return f"def {method}({arguments}):\n  {rnd.choice(BODIES)}\n"
