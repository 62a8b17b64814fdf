"""Course modules: compiled perhaps ahead, executed once a session, on PrairieLearn's path.

Guarantees: while a function runs, the working directory is its question's or
element's own and first on sys.path, then the PrairieLearn python directory, then
serverFilesCourse. A file is executed once a session, with `__file__` set, outside
sys.modules. The shim's own modules are hidden, so that their names are the
course's to use. A forbidden module fails to import even when already loaded.
Nothing is ever written beside the sources.
"""

from __future__ import annotations

import importlib.util
import os
import stat
import sys
from contextlib import contextmanager
from importlib.machinery import FileFinder
from typing import Any, Callable, Dict, Iterable, Iterator, List, Optional

from . import bytecode
from .course import Course
from .faults import QuestionError


_SHIM = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_shim_names: List[str] = []  # what course code must not meet in sys.modules; filled once


def shim_names() -> List[str]:
    """Return the names of the shim's own modules in sys.modules."""
    if not _shim_names:
        package = __name__.split(".")[0]
        beside = {name[:-3] for name in os.listdir(_SHIM) if name.endswith(".py")}
        for name in sys.modules:
            if name.split(".")[0] == package or name in beside:
                _shim_names.append(name)
    return _shim_names


class _Forbid:
    """A meta path finder that refuses modules by name."""

    def __init__(self) -> None:
        self.names: tuple = ()

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if self.names and self.covers(fullname):
            raise ImportError(f'module "{fullname}" is not allowed', name=fullname)
        return None

    def covers(self, fullname: str) -> bool:
        return any(fullname == name or fullname.startswith(name + ".") for name in self.names)


# How to seed the libraries whose random streams belong to a session.
_SEEDERS: Dict[str, Callable[[Any, int], None]] = {
    "random": lambda module, seed: module.seed(seed),
    "numpy": lambda module, seed: module.random.seed(seed),
    "faker": lambda module, seed: module.Faker.seed(seed),
}


class _SeedOnImport:
    """A meta path finder that seeds a library as soon as course code has imported it."""

    def __init__(self, names: Iterable[str], seed: int) -> None:
        self._pending = set(names)
        self._seed = seed

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if fullname not in self._pending:
            return None
        self._pending.discard(fullname)
        spec = importlib.util.find_spec(fullname)
        if spec is not None and spec.loader is not None:
            spec.loader = _SeedingLoader(spec.loader, self._seed)
        return spec


class _SeedingLoader:
    """Executes a module through its own loader, then seeds it."""

    def __init__(self, loader: Any, seed: int) -> None:
        self._loader = loader
        self._seed = seed

    def create_module(self, spec: Any) -> Any:
        return self._loader.create_module(spec)

    def exec_module(self, module: Any) -> None:
        module.__loader__ = module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        _SEEDERS[module.__name__](module, self._seed)


class Modules:
    """The course modules of one session."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._loaded: Dict[str, dict] = {}
        self._path: List[str] = [path for path in sys.path if path != _SHIM]
        self._forbid = _Forbid()
        sys.dont_write_bytecode = True
        sys.meta_path.insert(0, self._forbid)
        sys.path_hooks.insert(0, self._hook)
        for name in shim_names():  # its functions go on living
            sys.modules.pop(name, None)

    def seed(self, seed: int) -> None:
        """Seed random, numpy and Faker: now where loaded, otherwise when first imported."""
        absent = []
        for name, seeder in _SEEDERS.items():
            module = sys.modules.get(name)
            if module is None:
                absent.append(name)
            else:
                seeder(module, seed)
        if absent:
            sys.meta_path.insert(1, _SeedOnImport(absent, seed))

    def enter(self, directory: str, core: bool = False) -> None:
        """Make directory the place that course code runs in."""
        path = [directory]
        if self._course.prairielearn:
            path.append(f"{self._course.prairielearn}/python")
        if not core:
            path.append(f"{self._course.root}/serverFilesCourse")
        sys.path = path + self._path  # a new list: course code may have put anything there
        try:
            os.chdir(directory)
        except OSError as exc:
            self._course.roots.refuse_store_failure(exc)
            raise QuestionError(f"{self._course.roots.show(directory)}: {exc.strerror}") from None

    def compile(self, path: str) -> None:
        """Compile the file at path ahead of its load, where that can be done."""
        bytecode.compile_file(path)

    def load(self, path: str, run: Callable[..., Any]) -> Optional[dict]:
        """Return the globals of the file at path, executing it at first; None if it is not there."""
        namespace = self._loaded.get(path)
        if namespace is not None:
            return namespace
        code = bytecode.compiled(path)
        if code is None:
            try:
                with open(path, "rb", buffering=0) as file:  # a buffered one asks whether it is a terminal
                    source = file.read()
            except (FileNotFoundError, NotADirectoryError):
                return None
            except OSError as exc:
                self._course.roots.refuse_store_failure(exc)
                raise QuestionError(f"{self._course.roots.show(path)}: {exc.strerror}") from None
            code = run(compile, source, path, "exec", 0, True)
            bytecode.remember(path, code)
        # No __name__: upstream's modules are anonymous too, and dataclasses look
        # their module up in sys.modules by that name.
        namespace = {"__file__": path}
        run(exec, code, namespace)
        self._loaded[path] = namespace
        return namespace

    @contextmanager
    def forbidding(self, names: Iterable[str]) -> Iterator[None]:
        """Make imports of names, and of what lies below them, fail inside the block."""
        self._forbid.names = tuple(name for name in names if isinstance(name, str) and name)
        hidden = {}
        if self._forbid.names:
            hidden = {name: sys.modules.pop(name) for name in list(sys.modules) if self._forbid.covers(name)}
        try:
            yield
        finally:
            self._forbid.names = ()
            sys.modules.update(hidden)

    def _hook(self, path: str) -> FileFinder:
        """A path hook that serves the course's directories from code compiled ahead."""
        if self._course.roots.show(path + "/") is None:
            raise ImportError("not below a course", path=path)
        try:
            directory = stat.S_ISDIR(os.stat(path).st_mode)
        except OSError as exc:  # a store that fails is not a module that is missing
            self._course.roots.refuse_store_failure(exc)
            directory = False
        if not directory:
            raise ImportError("no directory", path=path)
        return bytecode.finder(path)

