"""A whole question phase in one call: mustache, <markdown>, elements, score, server.py.

Guarantees: the order and the rules are PrairieLearn's. The key table binds every
element function and server.py. Between the elements and server.py data passes
through JSON by JavaScript's rules. Any fault leaves the caller's data as it was.
`timings` names what took how long, in order, for a waterfall. An element of
PrairieLearn's own, where none is configured, stays as it is and is said once on
the console.
"""

from __future__ import annotations

import sys
from time import perf_counter
from typing import Any, Callable, Dict, List, Optional

from . import calls, keys, markdown, mustache, traverse
from .course import Element
from .faults import QuestionError

Resolve = Callable[[str], Optional[Element]]


class Clock:
    """The waterfall of one call."""

    def __init__(self) -> None:
        self.timings: List[Dict[str, Any]] = []

    def time(self, name: str, function: Callable[..., Any], *args: Any) -> Any:
        """Call function and note how long it took, also when it raises."""
        start = perf_counter()
        try:
            return function(*args)
        finally:
            self.timings.append({"name": name, "ms": round((perf_counter() - start) * 1000, 3)})


class ElementPhase:
    """The element part of a phase over one document."""

    def __init__(self, session: Any, method: str, before: dict, work: dict, clock: Clock) -> None:
        self.session, self.method = session, method
        self.before, self.work, self.clock = before, work, clock
        self.processed: Dict[str, None] = {}  # tags, in order
        self.foreign: Dict[str, None] = {}  # tags of PrairieLearn's that nothing here answers to
        self.file: Optional[bytes] = None

    def run(self, html: str, resolve: Resolve, extensions: Callable[[str], dict]) -> str:
        """Run the method of every element in html; return the HTML that render makes of it."""

        def visit(node: Any) -> Any:
            element = resolve(node.tag)
            if element is None:
                if node.tag.startswith("pl-"):
                    self.foreign[node.tag] = None
                return node
            self.processed[node.tag] = None
            known = extensions(element.name)
            return self.clock.time(node.tag, self._element, element, node, known)

        if self.method == "render":
            return traverse.replace(html, visit)
        traverse.execute(html, visit)
        return ""

    def _element(self, element: Element, node: Any, extensions: dict) -> Any:
        where = f"{self.method}() of element {element.name}"
        function = self.session.element_function(element, self.method)
        if function is None:
            return None
        html = traverse.outer_html(node)
        self._lend(element, extensions)
        roots = self.session.course.roots
        arguments = calls.element_args(function, html, self.work)
        value = calls.run(roots, where, function, *arguments)
        if self.method == "render":
            value = None if value is None else calls.returned_html(value, where)
        elif self.method == "file":
            value = self._file(value, where)
        else:
            returned = calls.returned_data(value, self.work, where)
            if returned is not self.work:
                returned = dict(returned)
                self.work.clear()
                self.work.update(returned)
        keys.check(self.method, self.before, self.work, where)
        self._take_back()
        return value

    def _file(self, value: Any, where: str) -> None:
        content = calls.returned_file(self.session.course.roots, value, where)
        if value is not None and self.file is not None:
            raise QuestionError(f"{where} returned a file, but another element already had")
        if value is not None:
            self.file = content

    def _lend(self, element: Element, extensions: dict) -> None:
        """Show the element its extensions and, in render, the URLs of its client files."""
        for data in (self.before, self.work):
            data["extensions"] = calls.jsonjs.copy(extensions)
            if self.method == "render":
                data["options"].update(calls.element_urls(data["options"], element.name, extensions))

    def _take_back(self) -> None:
        for data in (self.before, self.work):
            del data["extensions"]
            for key in calls.ELEMENT_URLS:
                data["options"].pop(key, None)


def run(session: Any, qid: str, method: str, data: dict) -> Dict[str, Any]:
    """Run one phase of a question and return its answer."""
    clock = Clock()
    try:
        return {**_run(session, qid, method, data, clock), "timings": clock.timings}
    except QuestionError as fault:
        fault.timings = clock.timings
        raise


def _run(session: Any, qid: str, method: str, data: dict, clock: Clock) -> Dict[str, Any]:
    directory = session.course.question(qid)
    info = session.course.question_info(directory)
    kind = info.get("type", "v3")
    if kind not in ("v3", "Freeform"):
        raise QuestionError(f"question {qid!r} is of type {kind}; only v3 questions run here")
    seen, aside = keys.admit(method, data)
    loan = calls.Loan(session.course.options(qid))
    if method == "grade" and seen["gradable"] is False:
        return {"data": data, "processed_elements": []}
    before, work = loan.give(seen), loan.give(seen)
    html, content, processed = "", b"", []
    if method != "generate":
        elements = ElementPhase(session, method, before, work, clock)
        html = _document(session, qid, work, clock)
        html = elements.run(html, session.course.element, session.course.extensions)
        content, processed = elements.file or b"", list(elements.processed)
        _report_foreign(session, qid, elements.foreign)
        work = calls.settle(work, session.max_result, f"the elements of {method}")
        if method in ("grade", "test"):
            work["score"] = _score(work["partial_scores"], info)
    where = f"{method}() of {qid}/server.py"
    function = clock.time("server.py load", session.server_function, qid, method)
    if function is not None:
        arguments = (work, html) if method == "render" else (work,)
        value = clock.time("server.py", calls.run, session.course.roots, where, function, *arguments)
        if method == "render":
            html = calls.returned_html(value, where)
        elif method == "file":
            own = calls.returned_file(session.course.roots, value, where)
            if own and content:
                raise QuestionError(f"{where} returned a file, but an element already had")
            content = own or content
        else:
            work = calls.settle(calls.returned_data(value, work, where), session.max_result, where)
            keys.check(method, before, work, where)
    if method == "render":
        answer = session.html(html, where)
    elif method == "file":
        answer = session.file(content, where)
    else:
        if work.get("format_errors"):
            work["gradable"] = False
        answer = {"data": {**loan.take_back(work, seen), **aside}}
    return {**answer, "processed_elements": processed}


def _document(session: Any, qid: str, data: dict, clock: Clock) -> str:
    """Return question.html after mustache and <markdown>."""
    template = session.course.template(qid)
    try:
        html = clock.time("mustache", mustache.render, template, data)
    except mustache.TemplateError as exc:
        raise QuestionError(f"{qid}/question.html: {exc}") from None
    if "<markdown>" in html:
        has_pl_code = session.course.element("pl-code") is not None
        html = clock.time("markdown", markdown.process, html, has_pl_code)
    return html


def _report_foreign(session: Any, qid: str, tags: Dict[str, None]) -> None:
    """Say once a session which elements of PrairieLearn's a question is missing."""
    if not tags or session.course.prairielearn or session.reported_foreign:
        return
    session.reported_foreign = True
    names = ", ".join(f"<{tag}>" for tag in tags)
    try:
        print(f"{qid} uses {names}: elements of PrairieLearn, which --prairielearn DIR provides", file=sys.stderr)
    except Exception:  # course code may have replaced the stream
        return


def _score(partial_scores: dict, info: dict) -> float:
    """Return the score that partial scores make: a weighted mean, or all or nothing."""
    parts = [part if isinstance(part, dict) else {} for part in partial_scores.values()]
    scores = [_number(part.get("score"), 0) for part in parts]
    if info.get("partialCredit") is False:
        return 1 if scores and all(score >= 1 for score in scores) else 0
    weights = [_number(part.get("weight"), 1) for part in parts]
    total = sum(weight * score for weight, score in zip(weights, scores)) / (sum(weights) or 1)
    return int(total) if float(total).is_integer() else total


def _number(value: Any, default: float) -> float:
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else default
