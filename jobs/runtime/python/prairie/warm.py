"""Work that trusted code does ahead of any call, so that no session pays for it.

Guarantees: `preload` runs no code of a course and reads none; after it, a call
imports nothing of the standard library or of lxml. `compile_course` compiles a
course's sources to code objects in memory; it executes nothing. A process that compiled one course serves that course only.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from types import CodeType
from typing import Dict, Optional

from . import calls, jsonjs, keys, markdown, mustache, traverse
from .faults import QuestionError, Roots
from .modules import compile_tree

# What course code and the shim touch in most sessions. Absent ones are skipped.
_LIBRARIES = (
    "base64", "collections", "copy", "csv", "dataclasses", "datetime", "decimal", "enum", "fractions",
    "functools", "hashlib", "html", "html.parser", "inspect", "io", "itertools", "json", "linecache",
    "lxml.etree", "lxml.html", "marshal", "math", "numbers", "os", "pathlib", "pickle", "random", "re",
    "secrets", "string", "tempfile", "textwrap", "tokenize", "traceback", "typing", "uuid",
    "numpy", "numpy.random", "numpy.linalg",
)  # fmt: skip


def preload() -> None:
    """Import and exercise what every session needs."""
    for name in _LIBRARIES:
        try:
            importlib.import_module(name)
        except ImportError:
            continue
    exercise()


def exercise() -> None:
    """Touch the code paths of a call, so that their pages are warm."""
    markdown.preload()
    mustache.render("{{#a}}\n{{b.c}} {{{d}}}\n{{/a}}{{^e}}f{{/e}}", {"a": [{"b": {"c": 1.5}}], "d": "<"})
    traverse.replace("a<p>b<x-y c='d'>e</x-y>f</p>", lambda node: None if node.tag == "x-y" else node)
    traverse.execute("a<p>b</p>", lambda node: traverse.outer_html(node))
    data, _ = keys.admit("generate", {"params": {"1": 2.5}, "variant_seed": 1})
    calls.settle(jsonjs.decode(jsonjs.encode(data)), 1 << 20, "preload")
    with tempfile.TemporaryFile() as file:
        file.write(b"x")
    namespace: dict = {}
    roots = Roots([("/nowhere", "/course")])
    for source in ("import nothing_like_this", "1/0"):
        code = compile(source, "/nowhere/server.py", "exec", 0, True)
        try:
            calls.run(roots, "preload", exec, code, namespace)
        except QuestionError:
            continue


def compile_course(
    root: str, seen_as: Optional[str] = None, question: Optional[str] = None
) -> Dict[str, CodeType]:
    """Compile elements, extensions and serverFilesCourse (and one question) below root.

    seen_as is where calls will see the course, when that is not root. The code
    objects are used by every Session of this process; they are also returned.
    """
    folders = ["elements", "elementExtensions", "serverFilesCourse"]
    if question:
        folders.append(f"questions/{question}")
    shown = (seen_as or root).rstrip("/")
    return compile_tree(os.fspath(root).rstrip("/"), shown, folders)

