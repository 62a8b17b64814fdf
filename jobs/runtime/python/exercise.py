"""Representative work with the libraries that are installed, run by trusted code
in the zygote and again in every spare: a forked interpreter pays for each page
and each code path the first time it touches them, and that is three quarters of
what a call after a fork takes. It knows no course, and leaves every random
stream as it was.
"""

import sys


def exercise(n):
    """n must be another one in the zygote than in a spare: sympy remembers what it
    has computed, and what it remembers exercises nothing."""
    _standard()
    numpy, sympy = sys.modules.get("numpy"), sys.modules.get("sympy")
    if numpy is not None:
        _numpy(numpy)
    if sympy is not None:
        _sympy(sympy, n)


def _standard():
    import json
    import random

    stream = random.Random(5)
    text = json.dumps({"a": [stream.randint(1, 9), stream.uniform(0, 1), stream.choice("abc")], "b": None})
    "{:.3f} {}".format(stream.gauss(0, 1), json.loads(text))


def _numpy(numpy):
    a = numpy.array([[2.0, 1.0, 0.5], [1.0, 3.0, 1.5], [0.0, 1.0, 4.0]])
    linalg = numpy.linalg
    for f in (linalg.det, linalg.inv, linalg.eigvals, numpy.sum, numpy.mean, numpy.transpose, numpy.round):
        f(a)
    linalg.solve(a, a[0])
    (a @ a + numpy.eye(3)).tolist()
    numpy.linspace(0, 1, 5) ** 2
    str(a)
    stream = numpy.random.RandomState(5)
    stream.randint(1, 9, size=3), stream.uniform(size=2), stream.normal(), stream.permutation(4)


def _sympy(sympy, n):
    u, v = sympy.symbols("u v")
    for power in (2, 3):
        p = sympy.expand((u + n) ** power)
        str(p), str(sympy.diff(p, u))
    q = sympy.expand((u - n) * (2 * v + 3))
    str(q), q.subs(u, 2)
    sympy.latex(p / 3)
    float(sympy.Rational(3, 4) + sympy.sqrt(2))
