"""The one door for trusted code: a Session answers calls until its process ends.

Guarantees: a Session never raises for what course code does; every answer is a
plain dictionary in the shape of jobs.CallResult. Random streams are seeded once,
before any course module runs. After a call that failed, the next one starts from
the data its caller gives it, untouched by the failed one. What a Session does
raise is our own fault, never the course's.
"""

from __future__ import annotations

import base64
import re
import sys
from typing import Any, Callable, Dict, Optional

from . import calls, executor as _executor, phase as _phase
from .bytecode import compile_course, pack_code, unpack_code
from .course import Course, Element
from .faults import ALWAYS_THEIRS, Missing, QuestionError, StoreError
from .jsonjs import NotJSON, decode, encode
from .keys import PHASES
from .modules import Modules
from .warm import preload, warm

__all__ = [
    "NotJSON", "Session", "StoreError", "compile_course", "decode", "encode", "pack_code", "preload", "unpack_code", "warm",
]  # fmt: skip

_TAG = re.compile(r"\s*<\s*([A-Za-z][^\s/>]*)")
_MAX_SEED = 2**32


class Session:
    """One session: calls in order, sharing modules and random streams."""

    def __init__(self, config: Dict[str, Any], before: Optional[Session] = None) -> None:
        # A course never changes: what an earlier session of this process read of it holds.
        self.course = before.course if before else Course(config["course"], config.get("prairielearn"))
        self.question: Optional[str] = config.get("question")
        self._foreseen: Optional[str] = config.get("foresee")
        self.max_result: int = config.get("max_result") or 16 << 20
        self.modules = Modules(self.course)
        self.reported_foreign = False
        self._seeded = False
        self._bad_seed: Optional[str] = None

    def seed(self, data: Any) -> bool:
        """Seed random, numpy and Faker from data["variant_seed"], the first time there is one; report whether it did."""
        seed = data.get("variant_seed") if isinstance(data, dict) else None
        if self._seeded or seed is None:
            return False
        self._seeded = True
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < _MAX_SEED:
            self._bad_seed = f'data["variant_seed"] must be an integer from 0 to 2^32-1, not {seed!r:.80}'
            return False
        self.modules.seed(seed)
        return True

    def foresee(self) -> None:
        """Compile the server.py of the question that is likely, before there is a seed; execute nothing."""
        if self._foreseen:
            self.modules.compile(f"{self.course.root}/questions/{self._foreseen}/server.py")

    def refuse_bad_seed(self) -> None:
        """Raise when the session's data carried a seed that cannot seed."""
        if self._bad_seed:
            raise QuestionError(self._bad_seed)

    def call(self, call: Dict[str, Any], data: Any) -> Dict[str, Any]:
        """Answer one call; data is a parsed JSON object and is not changed."""
        return self._answer(lambda: self._dispatch(call, data))

    def executor(self, line: Dict[str, Any]) -> Dict[str, Any]:
        """Answer one line in the form of PrairieLearn's own executor."""
        return _executor.reply(self._answer(lambda: _executor.dispatch(self, line)))

    def _answer(self, work: Callable[[], Dict[str, Any]]) -> Dict[str, Any]:
        try:
            try:
                self.refuse_bad_seed()
                return {"outcome": "ok", **work()}
            finally:
                _flush()
        except Missing as exc:
            return {"outcome": "missing", "code": exc.code, "message": exc.message}
        except QuestionError as exc:
            return _failed(exc)
        except StoreError:
            raise
        except BaseException as exc:  # e.g. an alarm of the course's that struck between its calls
            if isinstance(exc, ALWAYS_THEIRS) or self.course.roots.owns(exc):
                return _failed(self.course.roots.fault(exc, "course code"))
            raise

    def _dispatch(self, call: Dict[str, Any], data: Any) -> Dict[str, Any]:
        kind, method = call.get("type"), call.get("method")
        if not isinstance(data, dict):
            raise QuestionError("data is not an object")
        if kind == "element":
            return self._element(call, method, data)
        qid = call.get("name") or self.question
        if not qid:
            raise Missing("question_missing", "the call names no question")
        if kind == "phase":
            if method not in PHASES:
                raise Missing("method_missing", f"there is no phase {method!r}")
            return _phase.run(self, qid, method, data)
        if kind != "question":
            raise Missing("method_missing", f"there is no call of type {kind!r}")
        return self._question(qid, method, call.get("html"), data)

    def _question(self, qid: str, method: Any, html: Optional[str], data: dict) -> Dict[str, Any]:
        where = f"{method}() of {qid}/server.py"
        function = self.server_function(qid, method)
        if function is None:
            raise Missing("method_missing", f"question {qid!r} has no function {method!r} in server.py")
        loan = calls.Loan(self.course.options(qid))
        work = loan.give(data)
        arguments = (work, html or "") if method == "render" else (work,)
        value = calls.run(self.course.roots, where, function, *arguments)
        return self._result(method, value, work, data, loan, where)

    def _element(self, call: Dict[str, Any], method: Any, data: dict) -> Dict[str, Any]:
        html = call.get("html") or ""
        tag = call.get("name") or (_TAG.match(html) or ("", ""))[1]
        element = self.course.element(tag)
        if element is None:
            raise Missing("element_missing", f"the course has no element {tag!r}")
        where = f"{method}() of element {element.name}"
        function = self.element_function(element, method) if method != "generate" else None
        if function is None:
            raise Missing("method_missing", f"element {element.name!r} has no function {method!r}")
        extensions = self.course.extensions(element.name)
        lent = self.course.options(self.question)
        if method == "render" and isinstance(data.get("options"), dict):
            lent.update(calls.element_urls(data["options"], element.name, extensions))
        loan = calls.Loan(lent, extensions)
        work = loan.give(data)
        arguments = calls.element_args(function, calls.element_html(html, tag), work)
        value = calls.run(self.course.roots, where, function, *arguments)
        if method == "render" and value is None:
            value = ""
        return self._result(method, value, work, data, loan, where)

    def _result(
        self, method: str, value: Any, work: dict, data: dict, loan: calls.Loan, where: str
    ) -> Dict[str, Any]:
        if method == "render":
            return self.html(calls.returned_html(value, where), where)
        if method == "file":
            return self.file(calls.returned_file(self.course.roots, value, where), where)
        tree = calls.settle(calls.returned_data(value, work, where), self.max_result, where)
        tree = loan.take_back(tree, data)
        for key in data:
            if key not in tree:
                raise QuestionError(f'data["{key}"] is missing after {where}')
        return {"data": tree}

    def html(self, html: str, where: str) -> Dict[str, Any]:
        """Return the answer that carries HTML."""
        calls.bounded(len(html), self.max_result, where)
        return {"html": html}

    def file(self, content: bytes, where: str) -> Dict[str, Any]:
        """Return the answer that carries a file."""
        calls.bounded(len(content), self.max_result, where)
        return {"file": base64.b64encode(content).decode("ascii")}

    def server_function(self, qid: str, method: Any) -> Optional[Callable[..., Any]]:
        """Enter the question's directory and return a function of its server.py, or None."""
        directory = self.course.question(qid)
        self.modules.enter(directory)
        return self._function(f"{directory}/server.py", f"{qid}/server.py", method)

    def element_function(self, element: Element, method: Any) -> Optional[Callable[..., Any]]:
        """Enter the element's directory and return a function of its controller, or None."""
        self.modules.enter(element.directory, element.core)
        path = f"{element.directory}/{element.controller}"
        return self._function(path, f"element {element.name}", method, strict=True)

    def _function(self, path: str, shown: str, method: Any, strict: bool = False) -> Optional[Callable]:
        if method not in PHASES:
            return None
        namespace = self.modules.load(path, calls.runner(self.course.roots, shown))
        if namespace is None:
            if strict:
                raise QuestionError(f"{shown}: its controller {path.rsplit('/', 1)[-1]} is not there")
            return None
        function = namespace.get(method)
        return function if callable(function) else None


def _failed(fault: QuestionError) -> Dict[str, Any]:
    answer = {"outcome": fault.outcome, "message": fault.message, "traceback": fault.traceback}
    return answer if fault.timings is None else {**answer, "timings": fault.timings}


def _flush() -> None:
    """Push what the call printed to its descriptors, so that it is the call's output."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:  # course code may have closed or replaced it
            continue
