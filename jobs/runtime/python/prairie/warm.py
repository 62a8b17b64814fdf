"""Work that trusted code does ahead of any call, so that no session pays for it.

Guarantees: nothing here runs or reads a course but its own small one. After
`preload` a call imports nothing of the shim's. `warm` leaves no trace: the import
path, the working directory and every random stream are as they were.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
from typing import Any

from . import markdown
from .modules import shim_names

# What course code and the shim touch in most sessions. Absent ones are skipped.
_LIBRARIES = (
    "base64", "collections", "copy", "csv", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "html", "html.parser", "inspect", "io", "itertools", "json", "linecache",
    "lxml.etree", "lxml.html", "marshal", "math", "numbers", "os", "pathlib", "pickle", "random", "re",
    "secrets", "string", "tempfile", "textwrap", "tokenize", "traceback", "typing", "unicodedata", "uuid",
    "numpy", "numpy.random", "numpy.linalg",
)  # fmt: skip

# A course of our own, beside this package.
_COURSE = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "course")


def preload() -> None:
    """Import and exercise what every session needs; called before any fork."""
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    markdown.preload()
    sympy = sys.modules.get("sympy")
    if sympy:
        _sympy_lazy(sympy)
        _algebra(sympy)
    # What most calls do comes last, and often: the interpreter's caches then hold that,
    # its code is specialised, and a child need not write to either.
    for n in range(_ROUNDS):
        warm(2 + n % _SEEDS, thorough=True)


_ROUNDS = 16  # a function is specialised after eight calls, and what did not fit is tried again later
_SEEDS = 4  # few, for sympy remembers each one's results


def warm(seed: int = 1, thorough: bool = False) -> None:
    """Touch the pages that a call will touch, by calls into a course of our own.

    Every page touched is memory of this process alone, and paid for once a spare:
    only what most calls need is done, unless thorough. sympy remembers results: a
    seed that this process has met exercises nothing.
    """
    numpy = sys.modules.get("numpy")
    stream = random.getstate()
    numpy_stream = numpy.random.get_state() if numpy else None
    places = sys.path, sys.meta_path, sys.path_hooks
    saved = [list(place) for place in places]
    hidden = {name: sys.modules[name] for name in shim_names() if name in sys.modules}
    cwd = os.getcwd()
    try:
        _calls(seed, thorough)
    finally:
        for place, content in zip(places, saved):
            place[:] = content
        sys.path = places[0]
        os.chdir(cwd)
        for path in [path for path in sys.path_importer_cache if path.startswith(_COURSE)]:
            del sys.path_importer_cache[path]
        sys.modules.pop("helper", None)
        sys.modules.update(hidden)
        random.setstate(stream)
        if numpy:
            numpy.random.set_state(numpy_stream)


def _calls(seed: int, thorough: bool) -> None:
    one = session.Session({"course": _COURSE, "question": "q"})
    data = session.decode(b'{"params":{},"correct_answers":{},"variant_seed":%d,"options":{"1":2.5}}' % seed)
    one.seed(data)
    calls = [("question", "generate"), ("phase", "render")]
    for kind, method in calls + ([("question", "grade"), ("element", "render")] if thorough else []):
        answer = one.call({"type": kind, "name": "q" if kind != "element" else "x-a", "method": method, "html": "<x-a>b</x-a>"}, data)
        session.encode(answer)
        data = answer.get("data", data)


def _algebra(sympy: Any) -> None:
    """Run the code of polynomials until the interpreter has specialised it, which it
    would otherwise do in every child, by writing to the code's own pages.

    Only the code is warm after it: sympy remembers results, but those of numbers that
    no question has.
    """
    x, y = sympy.symbols("x y")
    for n in range(10**9 + 7, 10**9 + 15):
        cubic = sympy.expand((x + n) ** 3)
        str(cubic), str(sympy.diff(cubic, x)), cubic.subs(x, n)
        str(sympy.expand((x - n) * (n * x + y)))


def _sympy_lazy(sympy: Any) -> None:
    """Reach the parts that sympy only loads and fills at their first use.

    A first `generate` of a cubic with Poly, latex and diff took 93 ms after the
    import alone, and 6 ms after this.
    """
    x, y = sympy.symbols("x y")
    cubic = sympy.expand(3 * (x + 2) * (x - 3) * (x + 1))
    product = sympy.Mul(3, x - 1, x + 2, evaluate=False)
    matrix = sympy.Matrix([[1, 2], [3, 4]])
    for shown in (cubic, product, matrix, sympy.Rational(1, 3), sympy.sqrt(2) * sympy.pi, sympy.sin(x) / y):
        str(shown)
        sympy.latex(shown)
    sympy.Poly(cubic, x).all_coeffs()
    sympy.factor(cubic)
    sympy.simplify((x**2 - 1) / (x - 1))
    int(sympy.diff(cubic, x).subs(x, 2))
    sympy.solve(x**2 - 3 * x + 2, x)
    sympy.integrate(cubic, (x, 0, 1))
    sympy.limit(sympy.sin(x) / x, x, 0)
    (matrix.inv() * matrix).det()
    sympy.sympify("sin(x)**2 + sqrt(y)").evalf(5, subs={x: 1, y: 2})
    sympy.lambdify(x, cubic)(2)


from . import session  # noqa: E402  last, for it imports what is above; and once, for in a sandbox its name is hidden
