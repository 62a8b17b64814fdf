"""Import path, module life, seeding, forbidden modules, code compiled ahead."""

from __future__ import annotations

import os
import random
import resource
import sys
import tempfile

from prairie import slate
from support import SEED, CourseCase, forked, session

FAKER = "class Faker:\n  seeds = []\n  @classmethod\n  def seed(cls, s): cls.seeds.append(s)\n"


class ImportPath(CourseCase):
    """Where course code finds modules and files."""

    files = {
        "serverFilesCourse/who.py": "NAME = 'server files'",
        "serverFilesCourse/only.py": "NAME = 'only'",
        "serverFilesCourse/pkg/__init__.py": "from .sub import NAME",
        "serverFilesCourse/pkg/sub.py": "NAME = 'sub'",
        "questions/q/who.py": "NAME = 'question'",
        "questions/q/data.txt": "beside",
        "elements/x-a/info.json": "{}",
        "elements/x-a/who_a.py": "NAME = 'element'",
    }

    def pl_root(self) -> str:
        root = os.path.realpath(tempfile.mkdtemp(prefix="pl-"))
        self.write({
            "python/who.py": "NAME = 'prairielearn'",
            "python/only.py": "NAME = 'prairielearn'",
            "elements/pl-x/info.json": '{"controller": "pl-x.py", "additionalNames": ["pl-old-x"]}',
            "elements/pl-x/pl-x.py": "import only\ndef render(h, d): return 'core ' + only.NAME",
            "elements/x-a/info.json": "{}",
            "elements/x-a/x-a.py": "def render(h, d): return 'core'",
        }, root)  # fmt: skip
        self.addCleanup(__import__("shutil").rmtree, root)
        return root

    def test_own_directory_comes_first(self) -> None:
        self.question("import who, only, pkg\ndef generate(d): d['params'] = [who.NAME, only.NAME, pkg.NAME]")
        self.assertEqual(self.call("question", "generate")["data"]["params"], ["question", "only", "sub"])

    def test_a_later_session_of_the_process_finds_the_same_and_executes_it_afresh(self) -> None:
        self.write({"serverFilesCourse/space/part.py": "count = 0"})
        self.question(
            "import only, pkg.sub, space.part, sys\n"
            "try:\n  import absent\nexcept ImportError as e:\n  absent = e.name\n"
            "def generate(d):\n"
            "  space.part.count += 1\n  pkg.__path__.append('/x')\n  only.__spec__.origin += '!'\n"
            "  d['params'] = [only.NAME, only.__file__, only.__spec__.origin, pkg.sub.NAME, pkg.__path__,"
            " list(space.__path__), space.part.count, absent, type(only.__loader__).__name__]\n"
        )

        def work() -> list:
            found, one, blank = [], None, slate.Slate(self.root)
            for _ in range(3):
                one = session.Session({"course": self.root, "question": "q"}, one)
                one.seed(SEED)
                found.append(one.call({"type": "question", "method": "generate", "name": "q"}, SEED)["data"]["params"])
                blank.wipe()
            return found

        first, *later = forked(work)
        self.assertEqual(later, [first, first])
        self.assertEqual(first[3:8], ["sub", [f"{self.root}/serverFilesCourse/pkg", "/x"], [f"{self.root}/serverFilesCourse/space"], 1, "absent"])

    def test_a_session_without_a_seed_repeats_nobody(self) -> None:
        def work() -> list:
            one = session.Session({"course": self.root, "question": "q"})
            self.assertTrue(one.seed(SEED))
            self.assertFalse(one.seed({}))
            seeded = random.random()
            slate.scatter()
            return [seeded, random.random()]

        one, other = forked(work), forked(work)
        self.assertEqual(one[0], other[0])
        self.assertNotEqual(one[1], other[1])

    def test_the_prairielearn_directory_comes_second(self) -> None:
        self.question(
            "import who, only, sys\ndef generate(d): d['params'] = {'n': [who.NAME, only.NAME], 'p': sys.path[:3]}"
        )
        root = self.pl_root()
        params = self.call("question", "generate", prairielearn=root)["data"]["params"]
        self.assertEqual(params["n"], ["question", "prairielearn"])
        self.assertEqual(params["p"], [f"{self.root}/questions/q", f"{root}/python", f"{self.root}/serverFilesCourse"])

    def test_working_directory(self) -> None:
        self.question("import os\ndef generate(d): d['params'] = [os.getcwd(), open('data.txt').read()]")
        answer = self.call("question", "generate")
        self.assertEqual(answer["data"]["params"], [f"{self.root}/questions/q", "beside"])

    def test_elements_have_their_own_directory(self) -> None:
        self.write({"elements/x-a/x-a.py": "import os, who_a\ndef render(h, d): return who_a.NAME + os.getcwd()"})
        answer = self.call("element", "render", "x-a")
        self.assertEqual(answer["html"], f"element{self.root}/elements/x-a")

    def test_core_elements_and_their_other_names(self) -> None:
        root = self.pl_root()
        for tag in ("pl-x", "pl_x", "pl-old-x", "pl_old_x"):
            answer = self.call("element", "render", tag, prairielearn=root)
            self.assertEqual(answer.get("html"), "core prairielearn", answer)

    def test_core_elements_do_not_meet_the_course_s_modules(self) -> None:
        root = self.pl_root()
        self.write({"elements/pl-x/pl-x.py": "import pkg\ndef render(h, d): pass"}, root)
        answer = self.call("element", "render", "pl-x", prairielearn=root)
        self.assertFault(answer, "No module named 'pkg'", "/prairielearn/elements/pl-x/pl-x.py, line 1")
        self.assertNotIn(root, answer["traceback"])

    def test_course_elements_win_over_core_ones(self) -> None:
        self.write({"elements/x-a/x-a.py": "def render(h, d): return 'course'"})
        answer = self.call("element", "render", "x-a", prairielearn=self.pl_root())
        self.assertEqual(answer["html"], "course")

    def test_nothing_is_written(self) -> None:
        self.question("import who, pkg\ndef generate(d): pass")
        self.call("question", "generate")
        found = [name for _, names, _ in os.walk(self.root) for name in names]
        self.assertNotIn("__pycache__", found)

    def test_the_shim_s_names_are_free(self) -> None:
        self.write({"serverFilesCourse/prairie/__init__.py": "", "serverFilesCourse/prairie/keys.py": "A = 1"})
        self.write({"serverFilesCourse/zygote.py": "B = 2"})
        self.element("from prairie.keys import A\ndef grade(h, d): raise ValueError(A)")
        self.question(
            "import sys, zygote\nfrom prairie import keys\n"
            "def generate(d): d['params'] = [keys.A, zygote.B, [p for p in sys.path if p.endswith('runtime/python')]]",
            "<markdown>*a*</markdown><x-a></x-a>",
        )
        calls = [("question", "generate"), ("phase", "grade"), ("element", "grade", "x-a")]
        first, second, third = self.session(calls)
        self.assertEqual(first["data"]["params"], [1, 2, []])
        self.assertFault(second, 'data["params"] is not of type object')
        self.assertFault(third, "ValueError: 1")

    def test_without_them_the_shim_cannot_be_imported(self) -> None:
        for name in ("prairie", "prairie.session", "zygote"):
            self.question(f"import {name}\ndef generate(d): pass")
            self.assertFault(self.call("question", "generate"), "ModuleNotFoundError")

    def test_symlinked_helpers(self) -> None:
        os.symlink("../../serverFilesCourse/only.py", f"{self.root}/questions/q/linked.py")
        self.question("import linked\ndef generate(d): d['params'] = linked.NAME")
        self.assertEqual(self.call("question", "generate")["data"]["params"], "only")


class ModuleLife(CourseCase):
    """A module runs once a session, outside sys.modules."""

    SERVER = (
        "import os, sys\nN = []\nprint('run')\n"
        "def generate(d):\n  N.append(1)\n  d['params'] = {'n': len(N), 'file': __file__,"
        " 'in': [m for m in sys.modules if m in ('server', '__mp_main__')]}\n"
    )

    def test_once_a_session(self) -> None:
        self.question(self.SERVER)
        answers = self.session([("question", "generate")] * 3)
        self.assertEqual([a["data"]["params"]["n"] for a in answers], [1, 2, 3])
        self.assertEqual(forked.output, "run\n")
        self.assertEqual(answers[0]["data"]["params"]["file"], f"{self.root}/questions/q/server.py")
        self.assertEqual(answers[0]["data"]["params"]["in"], [])
        self.assertEqual(self.call("question", "generate")["data"]["params"]["n"], 1)

    def test_phases_and_calls_share_it(self) -> None:
        self.question(self.SERVER)
        answers = self.session([("question", "generate"), ("phase", "generate")])
        self.assertEqual([a["data"]["params"]["n"] for a in answers], [1, 2])

    def test_a_coding_cookie_counts(self) -> None:
        source = "# -*- coding: latin-1 -*-\ndef generate(d): d['params'] = 'é'".encode("latin-1")
        self.write({"questions/q/info.json": "{}", "questions/q/server.py": source})
        self.assertEqual(self.call("question", "generate")["data"]["params"], "é")

    def test_the_shim_s_future_imports_do_not_leak(self) -> None:
        self.question("def f(x: int): pass\ndef generate(d): d['params'] = f.__annotations__['x'] is int")
        self.assertIs(self.call("question", "generate")["data"]["params"], True)


class Seeding(CourseCase):
    """One seed a session, before the module's top level."""

    SERVER = "import random\nTOP = random.random()\ndef generate(d): d['params'] = [TOP, random.random()]"

    def test_before_the_top_level(self) -> None:
        self.question(self.SERVER)
        random.seed(7)
        expected = [random.random(), random.random()]
        self.assertEqual(self.call("question", "generate")["data"]["params"], expected)

    def test_once_a_session(self) -> None:
        self.question(self.SERVER)
        random.seed(7)
        top, *rest = [random.random() for _ in range(3)]
        answers = self.session([("question", "generate")] * 2)
        self.assertEqual([a["data"]["params"] for a in answers], [[top, rest[0]], [top, rest[1]]])

    def test_the_stream_is_shared_by_elements_and_server(self) -> None:
        self.element("import random\ndef prepare(h, d): d['params'].setdefault('r', []).append(random.random())")
        self.question("import random\ndef prepare(d): d['params']['r'].append(random.random())", "<x-a></x-a><x-a></x-a>")
        random.seed(7)
        expected = [random.random() for _ in range(3)]
        self.assertEqual(self.call("phase", "prepare")["data"]["params"]["r"], expected)

    def test_another_seed_is_another_variant(self) -> None:
        self.question(self.SERVER)
        one, two = (self.call("question", "generate", data={**SEED, "variant_seed": s}) for s in (1, 2))
        self.assertNotEqual(one["data"]["params"], two["data"]["params"])

    def test_bounds(self) -> None:
        self.question(self.SERVER)
        for seed in (0, 2**32 - 1):
            random.seed(seed)
            expected = [random.random(), random.random()]
            answer = self.call("question", "generate", data={**SEED, "variant_seed": seed})
            self.assertEqual(answer["data"]["params"], expected)

    def test_without_a_seed_nothing_is_seeded(self) -> None:
        self.question("import random\ndef generate(d): d['params'] = random.random()")

        def work() -> float:
            random.seed(123)
            one = session.Session({"course": self.root, "question": "q"})
            data = {"params": {}}
            one.seed(data)
            return one.call({"type": "question", "method": "generate"}, data)["data"]["params"]

        random.seed(123)
        self.assertEqual(forked(work), random.random())

    def test_numpy(self) -> None:
        try:
            import numpy
        except ImportError:
            if os.environ.get("REQUIRE_ALL") == "1":
                raise
            self.skipTest("numpy is not installed")
        self.question("import numpy as np\nT = np.random.rand()\ndef generate(d): d['params'] = [T, np.random.rand()]")
        numpy.random.seed(7)
        expected = [numpy.random.rand(), numpy.random.rand()]
        self.assertEqual(self.call("question", "generate")["data"]["params"], expected)

    def test_faker_imported_later(self) -> None:
        self.write({"serverFilesCourse/faker/__init__.py": "print('once')\n" + FAKER})
        self.question("from faker import Faker\nimport faker\ndef generate(d): d['params'] = [Faker.seeds,"
                      " faker.__spec__.loader is faker.__loader__]")  # fmt: skip
        self.assertEqual(self.call("question", "generate")["data"]["params"], [[7], True])
        self.assertEqual(forked.output, "once\n")

    def test_faker_already_loaded(self) -> None:
        self.question("from faker import Faker\ndef generate(d): d['params'] = Faker.seeds")

        def work() -> dict:
            module = type(sys)("faker")
            exec(FAKER, module.__dict__)
            sys.modules["faker"] = module
            return self.inside([("question", "generate")], SEED, {})[0]

        self.assertEqual(forked(work)["data"]["params"], [7])


class Forbidden(CourseCase):
    """Forbidden modules fail to import, loaded or not, for one line only."""

    def line(self, **more: object) -> dict:
        return {"type": "question", "directory": "q", "file": "server", "fcn": "generate", "args": [SEED], **more}

    def test_loaded_module(self) -> None:
        self.question("def generate(d):\n  import json.decoder\n  d['params']['x'] = 1")
        first, second = self.executor(self.line(forbidden_modules=["json"]), self.line())
        self.assertIn('ImportError: module "json" is not allowed', first["error"])
        self.assertEqual(second["error"], None)
        self.assertEqual(second["data"]["params"], {"x": 1})

    def test_fresh_module_and_submodule(self) -> None:
        self.write({"serverFilesCourse/pkg/__init__.py": "", "serverFilesCourse/pkg/sub.py": ""})
        self.question("def generate(d):\n  import pkg\n  import pkg.sub")
        (answer,) = self.executor(self.line(forbidden_modules=["pkg.sub"]))
        self.assertIn('module "pkg.sub" is not allowed', answer["error"])
        (answer,) = self.executor(self.line(forbidden_modules=["pk", "subpkg"]))
        self.assertIsNone(answer["error"])

    def test_the_shim_does_not_depend_on_them(self) -> None:
        self.question("def generate(d): 1/0")
        (answer,) = self.executor(self.line(forbidden_modules=["traceback", "linecache", "json", "lxml", "re"]))
        self.assertIn("ZeroDivisionError", answer["error"])


class CompiledAhead(CourseCase):
    """compile_course runs nothing, and calls use its code instead of the source."""

    def test_calls_use_the_compiled_code(self) -> None:
        self.write({"serverFilesCourse/helper.py": "NAME = 'compiled'", "serverFilesCourse/bad.py": "x ="})
        self.element("import helper\nprint('ran')\ndef render(h, d): return helper.NAME")

        def work() -> dict:
            codes = session.compile_course(self.root)
            self.write({"serverFilesCourse/helper.py": "NAME = 'source'", "elements/x-a/x-a.py": "1/0"})
            answer = self.inside([("element", "render", "x-a")], SEED, {})[0]
            return {"html": answer.get("html"), "codes": sorted(codes)}

        answer = forked(work)
        self.assertEqual(answer["html"], "compiled")
        self.assertEqual(answer["codes"], [f"{self.root}/elements/x-a/x-a.py", f"{self.root}/serverFilesCourse/helper.py"])
        self.assertEqual(forked.output, "ran\n")

    def test_packed_for_other_processes(self) -> None:
        self.element("def render(h, d): return 'packed'")
        packed = forked(lambda: session.pack_code(session.compile_course(self.root)))

        def work() -> dict:
            self.element("1/0")
            count = session.unpack_code(packed)
            return {"count": count, **self.inside([("element", "render", "x-a")], SEED, {})[0]}

        self.assertEqual(forked(work), {"count": 1, "outcome": "ok", "html": "packed"})
        self.assertEqual(session.unpack_code(b"\0\0\0\0" + packed[4:]), 0)

    def test_seen_elsewhere_and_with_a_question(self) -> None:
        self.question("def generate(d): pass", qid="a/b")
        codes = forked(lambda: {p: c.co_filename for p, c in session.compile_course(self.root, "/course", "a/b").items()})
        self.assertEqual(codes, {"/course/questions/a/b/server.py": "/course/questions/a/b/server.py"})


class Imports(CourseCase):
    """After preload a call imports nothing."""

    def test_no_import_after_the_fork(self) -> None:
        self.element("def render(element_html, data): return 'r'\ndef grade(h, d): raise ValueError('x')")
        self.question("def generate(data): data['params']['x'] = 1.5", "<markdown>*{{params.x}}*</markdown><x-a></x-a>")

        def work() -> list:
            before = set(sys.modules)
            calls = [("question", "generate"), ("phase", "render"), ("phase", "grade"), ("element", "grade", "x-a")]
            self.inside(calls, SEED, {})
            return sorted(set(sys.modules) - before)

        self.assertEqual(forked(work), [])


class Warm(CourseCase):
    """Warming leaves no trace."""

    def test_no_trace(self) -> None:
        def work() -> list:
            def state() -> list:
                numpy = sys.modules.get("numpy")
                drawn = repr(numpy.random.get_state()) if numpy else ""
                return [random.getstate(), drawn, sys.path[:], sys.meta_path[:], sys.path_hooks[:], os.getcwd(),
                        sorted(sys.modules), sorted(sys.path_importer_cache), sorted(os.listdir(tempfile.gettempdir()))]  # fmt: skip

            before = state()
            session.warm()
            return [a == b for a, b in zip(before, state())]

        self.assertNotIn(False, forked(work))

    def test_a_warm_session_gives_the_same_variant(self) -> None:
        self.question("import random\ndef generate(d): d['params'] = [random.random(), random.gauss(0, 1)]")
        cold = self.call("question", "generate")

        def work() -> dict:
            session.warm()
            return self.inside([("question", "generate")], SEED, {})[0]

        self.assertEqual(forked(work), cold)
        self.assertEqual(forked.output, "")

    def test_what_a_warm_fork_need_not_copy(self) -> None:
        try:
            import sympy  # noqa: F401
        except ImportError:
            self.skipTest("no sympy")
        session.preload()
        self.question(
            "import random, sympy\n"
            "def generate(d):\n"
            "    d['params'] = {'p': str(sympy.expand((sympy.symbols('x') + random.randint(2, 10**6)) ** 3))}"
        )

        def faults(warm: bool) -> int:
            if warm:
                session.warm()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
            answer = self.inside([("question", "generate")], SEED, {})[0]
            self.assertEqual(answer["outcome"], "ok")
            return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

        cold, warm = forked(lambda: faults(False)), forked(lambda: faults(True))
        self.assertLess(warm, cold / 3)

    def test_nowhere_to_write(self) -> None:
        def work() -> None:
            tempfile.tempdir = self.root + "/none"
            session.warm()

        forked(work)
