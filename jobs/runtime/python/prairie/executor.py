"""PrairieLearn's own executor line: the form in which its servers ask for calls.

Guarantees: {type, directory, file, fcn, args, forbidden_modules} is answered with
{data, functionMissing, error, errorData, timings}; `file: "question.html"` runs a
whole element phase over args [context, data]. Random streams are seeded at the
first line whose last argument is a data object. Faults are answers, not failures.
"""

from __future__ import annotations

import base64
from typing import Any, Dict, Optional

from . import calls, keys
from .course import Element
from .faults import Missing, QuestionError
from .phase import Clock, ElementPhase


def dispatch(session: Any, line: Dict[str, Any]) -> Dict[str, Any]:
    """Run one line; its value is under "value"."""
    args = line.get("args")
    args = list(args) if isinstance(args, list) else []
    name, method = line.get("file"), line.get("fcn")
    if name is None and method == "ping":
        return {"value": "pong"}
    data = next((arg for arg in reversed(args) if isinstance(arg, dict)), None)
    if args and isinstance(args[-1], dict):
        session.seed(args[-1])
    session.refuse_bad_seed()
    if data is None or not isinstance(name, str):
        raise QuestionError("the line names no file, or carries no data object")
    forbidden = line.get("forbidden_modules")
    with session.modules.forbidding(forbidden if isinstance(forbidden, list) else []):
        if name == "question.html":
            return _elements(session, str(line.get("directory")), method, args)
        return _function(session, line, name, method, args, data)


def reply(answer: Dict[str, Any]) -> Dict[str, Any]:
    """Turn a session's answer into the executor's."""
    missing = answer["outcome"] == "missing" and answer["code"] == "method_missing"
    failed = answer["outcome"] != "ok" and not missing
    return {
        "data": answer.get("value"),
        "functionMissing": missing,
        "error": answer["message"] if failed else None,
        "errorData": {"outputBoth": answer.get("traceback", ""), "outcome": answer["outcome"]} if failed else None,
        "timings": answer.get("timings", []),
    }


def _function(
    session: Any, line: Dict[str, Any], name: str, method: Any, args: list, data: dict
) -> Dict[str, Any]:
    """Call one function of server.py or of a controller."""
    directory = str(line.get("directory"))
    if line.get("type") == "question":
        if name not in ("server", "server.py"):
            raise QuestionError(f"a question has no file {name!r} to call")
        where = f"{method}() of {directory}/server.py"
        function = session.server_function(directory, method)
        if function is None:
            raise Missing("method_missing", where)
        paths, extensions = session.course.options(directory), None
    else:
        where = f"{method}() of element {directory}"
        element = _element(session, directory, name, line.get("type") == "core-element")
        function = session.element_function(element, method)
        if function is None:
            raise Missing("method_missing", where)
        paths, extensions = session.course.options(session.question), None
    loan = calls.Loan(paths, extensions)
    before, work = loan.give(data), loan.give(data)
    if line.get("type") == "question":
        arguments = tuple(work if arg is data else arg for arg in args)
    else:
        html = args[0] if isinstance(args[0], str) else ""
        arguments = calls.element_args(function, calls.element_html(html, directory), work)
    value = calls.run(session.course.roots, where, function, *arguments)
    if method == "render":
        return {"value": session.html(calls.returned_html(value, where), where)["html"]}
    if method == "file":
        return {"value": session.file(calls.returned_file(session.course.roots, value, where), where)["file"]}
    tree = calls.settle(calls.returned_data(value, work, where), session.max_result, where)
    keys.check(method, before, tree, where)
    return {"value": loan.take_back(tree, data)}


def _elements(session: Any, qid: str, method: Any, args: list) -> Dict[str, Any]:
    """Run the element phase over HTML that the caller has already made."""
    if method not in keys.PHASES or len(args) != 2 or not all(isinstance(arg, dict) for arg in args):
        raise QuestionError("question.html takes a phase and the arguments [context, data]")
    context, data = args
    table = context.get("elements")
    known = table if isinstance(table, dict) else {}
    extensions = context.get("element_extensions")
    extensions = extensions if isinstance(extensions, dict) else {}
    loan = calls.Loan(session.course.options(qid))
    before, work = loan.give(data), loan.give(data)
    clock = Clock()
    phase = ElementPhase(session, method, before, work, clock)

    def resolve(tag: str) -> Optional[Element]:
        entry = known.get(tag)
        if not isinstance(entry, dict):
            return None
        name, controller = str(entry.get("name", tag)), str(entry.get("controller", f"{tag}.py"))
        return _element(session, name, controller, entry.get("type") == "core")

    html = phase.run(str(context.get("html", "")), resolve, lambda name: extensions.get(name, {}))
    tree = calls.settle(work, session.max_result, f"the elements of {method}")
    value = {
        "html": html if method == "render" else None,
        "file": base64.b64encode(phase.file or b"").decode("ascii") if method == "file" else None,
        "data": loan.take_back(tree, data),
        "processed_elements": list(phase.processed),
    }
    return {"value": value, "timings": clock.timings}


def _element(session: Any, name: str, controller: str, core: bool) -> Element:
    base = session.course.prairielearn if core else session.course.root
    if base is None:
        raise QuestionError(f"<{name}> is an element of PrairieLearn, and none is configured")
    if not name or "/" in name or name.startswith(".") or ".." in controller.split("/"):
        raise QuestionError(f"{name!r} is not the name of an element")
    controller = controller if controller.endswith(".py") else controller + ".py"
    return Element(name, f"{base}/elements/{name}", controller, core)
