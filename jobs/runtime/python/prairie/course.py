"""A course as it lies on disk: questions, elements, extensions, their paths.

Guarantees: course elements win over those of the PrairieLearn root; an element
is a real directory (not a symlink) with an info.json; names that climb out of
their directory name nothing. Files are read when a call first needs them, and once; a broken info.json is a
QuestionError naming it.
"""

from __future__ import annotations

import os
import stat
from typing import Any, Dict, NamedTuple, Optional

from . import jsonjs
from .faults import Missing, QuestionError, Roots


class Element(NamedTuple):
    """An element: its directory's name, the directory, its controller file, its origin."""

    name: str
    directory: str
    controller: str
    core: bool


class Course:
    """One course root and, where configured, the PrairieLearn root beside it."""

    def __init__(self, root: str, prairielearn: Optional[str] = None) -> None:
        self.root = root.rstrip("/")
        self.prairielearn = prairielearn.rstrip("/") if prairielearn else None
        pairs = [(self.root, "/course")]
        if self.prairielearn:
            pairs.append((self.prairielearn, "/prairielearn"))
        self.roots = Roots(pairs)
        self._questions: Dict[str, str] = {}  # directories that are questions, by QID
        self._infos: Dict[str, dict] = {}
        self._templates: Dict[str, str] = {}
        self._elements: Dict[str, Optional[Element]] = {}
        self._aliases: Optional[Dict[str, str]] = None
        self._extensions: Dict[str, dict] = {}

    def question(self, qid: str) -> str:
        """Return the directory of a question, or raise Missing."""
        if qid not in self._questions:
            directory = f"{self.root}/questions/{qid}"
            if not _inside(qid) or not any(
                os.path.isfile(f"{directory}/{name}") for name in ("info.json", "server.py", "question.html")
            ):
                raise Missing("question_missing", f"the course has no question {qid!r}")
            self._questions[qid] = directory
        return self._questions[qid]

    def question_info(self, directory: str) -> dict:
        """Return a question's info.json; an empty one where the file is not there."""
        if directory not in self._infos:
            self._infos[directory] = self._info(f"{directory}/info.json") or {}
        return self._infos[directory]

    def template(self, qid: str) -> str:
        """Return a question's question.html."""
        if qid not in self._templates:
            try:
                with open(f"{self.root}/questions/{qid}/question.html", "rb", buffering=0) as file:
                    self._templates[qid] = file.read().decode("utf-8")
            except FileNotFoundError:
                raise QuestionError(f"question {qid!r} has no question.html") from None
            except (OSError, UnicodeDecodeError) as exc:
                self.roots.refuse_store_failure(exc)
                raise QuestionError(f"{qid}/question.html: {exc}") from None
        return self._templates[qid]

    def options(self, question: Optional[str]) -> dict:
        """Return the paths that data["options"] carries, as course code sees them."""
        paths = {
            "client_files_course_path": f"{self.root}/clientFilesCourse",
            "server_files_course_path": f"{self.root}/serverFilesCourse",
            "course_extensions_path": f"{self.root}/elementExtensions",
        }
        if question:
            directory = f"{self.root}/questions/{question}"
            paths["question_path"] = directory
            paths["client_files_question_path"] = f"{directory}/clientFilesQuestion"
        return paths

    def element(self, tag: str) -> Optional[Element]:
        """Return the element that answers to a tag, or None."""
        if tag not in self._elements:
            self._elements[tag] = self._find(tag)
        return self._elements[tag]

    def extensions(self, name: str) -> dict:
        """Return the extensions of an element, by name, as data["extensions"] has them."""
        if name not in self._extensions:
            self._extensions[name] = self._read_extensions(name)
        return self._extensions[name]

    def _find(self, tag: str) -> Optional[Element]:
        if not _inside(tag) or "/" in tag:
            return None
        own = self._read(f"{self.root}/elements", tag, core=False)
        if own is not None or not self.prairielearn:
            return own
        base = f"{self.prairielearn}/elements"
        core = self._read(base, tag, core=True)
        if core is None and ("-" in tag or "_" in tag):
            name = self._core_aliases().get(tag)
            core = self._read(base, name, core=True) if name else None
        return core

    def _read(self, base: str, name: str, core: bool) -> Optional[Element]:
        directory = f"{base}/{name}"
        try:
            if not stat.S_ISDIR(os.lstat(directory).st_mode):
                return None
        except (OSError, ValueError):
            return None
        info = self._info(f"{directory}/info.json")
        if info is None:
            return None
        controller = info.get("controller", f"{name}.py")
        if not isinstance(controller, str) or not _inside(controller):
            raise QuestionError(f'{self.roots.show(directory)}/info.json: "controller" is not a file name')
        return Element(name, directory, controller, core)

    def _core_aliases(self) -> Dict[str, str]:
        """Map the other names of core elements (underscores, additionalNames) to theirs."""
        if self._aliases is None:
            self._aliases = {}
            base = f"{self.prairielearn}/elements"
            for name in _listdir(base):
                info = self._info(f"{base}/{name}/info.json")
                if info is None:
                    continue
                more = info.get("additionalNames")
                for alias in (name, *(more if isinstance(more, list) else ())):
                    if isinstance(alias, str):
                        self._aliases[alias] = name
                        self._aliases[alias.replace("-", "_")] = name
        return self._aliases

    def _read_extensions(self, name: str) -> dict:
        base = f"{self.root}/elementExtensions/{name}"
        found = {}
        for extension in _listdir(base):
            info = self._info(f"{base}/{extension}/info.json")
            if info is not None:
                found[extension] = {"name": extension, "directory": f"{base}/{extension}", **info}
        return found

    def _info(self, path: str) -> Optional[dict]:
        """Read an info.json; None where there is none."""
        try:
            with open(path, "rb", buffering=0) as file:
                raw = file.read()
            info: Any = jsonjs.decode(raw[3:] if raw.startswith(b"\xef\xbb\xbf") else raw)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (ValueError, OSError, RecursionError) as exc:
            self.roots.refuse_store_failure(exc)
            raise QuestionError(f"{self.roots.show(path)}: {exc}") from None
        if not isinstance(info, dict):
            raise QuestionError(f"{self.roots.show(path)}: not a JSON object")
        return info


def _listdir(path: str) -> list:
    try:
        return sorted(os.listdir(path))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _inside(name: str) -> bool:
    """Tell whether a relative name stays below its directory."""
    return bool(name) and "\0" not in name and all(part not in ("", ".", "..") for part in name.split("/"))
