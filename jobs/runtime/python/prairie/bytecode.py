"""A course's code compiled ahead: once per version, by trusted code, used by every call.

Guarantees: compiling executes nothing. What is compiled is used instead of the
source, by calls and by imports alike; a file that does not compile is left out,
and the call that needs it reports why. A process holds the code of one version.
`unpack_code` reads what `pack_code` of the same interpreter wrote and ignores any
other; its bytes must come from trusted code, for unmarshalling is not safe.
"""

from __future__ import annotations

import marshal
import os
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES, SOURCE_SUFFIXES
from importlib.machinery import ExtensionFileLoader, FileFinder, SourceFileLoader, SourcelessFileLoader
from importlib.machinery import ModuleSpec
from importlib.util import MAGIC_NUMBER, spec_from_file_location
from types import CodeType
from typing import Any, Dict, Optional

# Path as calls see it -> code: compiled ahead, or by an earlier session of this process.
_compiled: Dict[str, CodeType] = {}
# The same, as unpack_code took it over and nobody has asked for it yet.
_packed: Dict[str, bytes] = {}


def compile_course(
    root: str, seen_as: Optional[str] = None, question: Optional[str] = None
) -> Dict[str, CodeType]:
    """Compile elements, extensions and serverFilesCourse (and one question) below root.

    seen_as is where calls will see the course, when that is not root. Sessions of
    this process use the code objects; they are also returned, by path.
    """
    folders = ["elements", "elementExtensions", "serverFilesCourse"]
    if question:
        folders.append(f"questions/{question}")
    root = os.fspath(root).rstrip("/")
    codes: Dict[str, CodeType] = {}
    for folder in folders:
        for directory, names, files in os.walk(f"{root}/{folder}"):
            names[:] = [name for name in names if name != "__pycache__"]
            for name in files:
                if name.endswith(".py"):
                    path = f"{directory}/{name}"
                    shown = (seen_as or root).rstrip("/") + path[len(root) :]
                    code = _compile(path, shown)
                    if code is not None:
                        codes[shown] = code
    _compiled.update(codes)
    return codes


def compile_file(path: str) -> None:
    """Compile one file for the sessions of this process; what does not compile is left to them."""
    code = _compile(path, path)
    if code is not None:
        _compiled[path] = code


def pack_code(codes: Dict[str, CodeType]) -> bytes:
    """Return codes as bytes for `unpack_code` of the same interpreter."""
    return MAGIC_NUMBER + marshal.dumps({path: marshal.dumps(code) for path, code in codes.items()})


def unpack_code(raw: bytes) -> int:
    """Adopt what pack_code wrote; return how many files it holds, 0 for another interpreter's."""
    if raw[: len(MAGIC_NUMBER)] != MAGIC_NUMBER:
        return 0
    codes = marshal.loads(raw[len(MAGIC_NUMBER) :])
    _packed.update(codes)
    return len(codes)


def compiled(path: str) -> Optional[CodeType]:
    """Return the code that was compiled ahead for path, if any."""
    if path in _packed:
        _compiled[path] = marshal.loads(_packed.pop(path))
    return _compiled.get(path)


def remember(path: str, code: CodeType) -> None:
    """Keep code for the sessions of this process that may follow."""
    _compiled[path] = code


def finder(path: str) -> FileFinder:
    """Return an import finder for a directory of the course."""
    return _Finder(
        path,
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (_Loader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )


class _Finder(FileFinder):
    """Looks a name up once: a course never changes, and a rehearsal asks again for every session."""

    def __init__(self, path: str, *details: Any) -> None:
        super().__init__(path, *details)
        self._known: Dict[str, Optional[ModuleSpec]] = {}

    def find_spec(self, fullname: str, target: Any = None) -> Optional[ModuleSpec]:
        if fullname not in self._known:
            self._known[fullname] = super().find_spec(fullname, target)
        known = self._known[fullname]
        if known is None:
            return None
        within = known.submodule_search_locations
        within = None if within is None else list(within)
        if known.loader is None:  # a part of a namespace package
            spec = ModuleSpec(fullname, None)
            spec.submodule_search_locations = within
            return spec
        loader = type(known.loader)(fullname, known.origin)
        return spec_from_file_location(fullname, known.origin, loader=loader, submodule_search_locations=within)


class _Loader(SourceFileLoader):
    """Loads a module from code compiled ahead where there is some."""

    def get_code(self, fullname: str) -> Optional[CodeType]:
        code = compiled(self.path) or super().get_code(fullname)
        if code is not None:
            remember(self.path, code)
        return code

    def set_data(self, path: str, data: Any, *, _mode: int = 0o666) -> None:
        """Write no bytecode: nothing is written below a course."""


def _compile(path: str, shown: str) -> Optional[CodeType]:
    try:
        with open(path, "rb", buffering=0) as file:
            return compile(file.read(), shown, "exec", 0, True)
    except (OSError, ValueError, SyntaxError, RecursionError, MemoryError):
        return None
