"""Runs the sample course's Python in plain processes, for the tests of its content.

Reads one JSON request a line and answers one JSON line; every request runs in
a fork of its own. It is an oracle for these tests, small on purpose: the
course's content is checked before and apart from any sandbox.

    {"op": "call", "type": "question"|"element", "name", "method", "html"?, "data", "extensions"?}
    {"op": "phase", "name", "method", "data"}       mustache, elements, then server.py
    {"op": "life", "name", "data"}                  a variant, its panels, and what test's submissions come to
    {"op": "compile", "name"}                       a path below the course
"""

import base64
import html as htmllib
import io
import json
import os
import pathlib
import random
import re
import sys
import traceback

import lxml.html
import numpy
import sympy  # noqa: F401  (loaded once, for the forks)

COURSE = pathlib.Path(sys.argv[1]).resolve()
ELEMENTS = {p.parent.name: json.loads(p.read_text("utf-8")) for p in COURSE.glob("elements/*/info.json")}
EXTENSIONS = {
    tag: {
        p.parent.name: {**json.loads(p.read_text("utf-8")), "directory": str(p.parent)}
        for p in COURSE.glob(f"elementExtensions/{tag}/*/info.json")
    }
    for tag in ELEMENTS
}
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Missing(Exception):
    pass


def load(path, cache={}):  # noqa: B006  (one process is one session)
    if path not in cache:
        names = {"__file__": str(path)}
        sys.path[:0] = [str(path.parent), str(COURSE / "serverFilesCourse")]
        os.chdir(path.parent)
        exec(compile(path.read_text("utf-8"), str(path), "exec"), names)
        cache[path] = names
    os.chdir(path.parent)
    return cache[path]


def call_question(qid, method, data, html=None):
    path = COURSE / "questions" / qid / "server.py"
    if not path.exists() or method not in (names := load(path)):
        raise Missing(f"{qid} {method}")
    return names[method](data, html) if method == "render" else names[method](data)


def call_element(tag, method, html, data, extensions=True):
    names = load(COURSE / "elements" / tag / ELEMENTS[tag]["controller"])
    if method not in names:
        raise Missing(f"<{tag}> {method}")
    if extensions:
        data["extensions"] = EXTENSIONS[tag]
    try:
        arguments = names[method].__code__.co_argcount
        return names[method](html, None, data) if arguments == 3 else names[method](html, data)
    finally:
        data.pop("extensions", None)


# --- a page: mustache, then elements

TAG = re.compile(r"\{\{\{\s*([\w.]+)\s*\}\}\}|\{\{\s*([#^/&!]?)\s*([^}]*?)\s*\}\}")


def mustache(template, stack):
    def find(name):
        if name == ".":
            return stack[-1]
        first, *rest = name.split(".")
        for scope in reversed(stack):
            if isinstance(scope, dict) and first in scope:
                value = scope[first]
                for part in rest:
                    value = value.get(part) if isinstance(value, dict) else None
                return value
        return None

    out, at = [], 0
    while match := TAG.search(template, at):
        out.append(template[at : match.start()])
        at = match.end()
        raw, sign, name = match.groups()
        if sign in ("#", "^"):
            end = re.compile(r"\{\{\s*/\s*" + re.escape(name) + r"\s*\}\}").search(template, at)
            body, value = template[at : end.start()], find(name)
            at = end.end()
            if sign == "^":
                out.append("" if value else mustache(body, stack))
            elif isinstance(value, list):
                out.extend(mustache(body, [*stack, item]) for item in value)
            elif value:
                out.append(mustache(body, [*stack, value]))
        elif sign != "!":
            value = find(raw or name)
            text = "" if value is None else str(value)
            out.append(text if raw or sign == "&" else htmllib.escape(text))
    return "".join(out) + template[at:]


def page(qid, data):
    return mustache((COURSE / "questions" / qid / "question.html").read_text("utf-8"), [data])


def elements_of(source):
    for node in lxml.html.fragments_fromstring(source):
        if not isinstance(node, str):
            yield from (e for e in node.iter() if e.tag in ELEMENTS)


def alone(element):
    tail, element.tail = element.tail, None
    try:
        return lxml.html.tostring(element)
    finally:
        element.tail = tail


def render(source, data):
    out = []
    for node in lxml.html.fragments_fromstring(source):
        out.append(htmllib.escape(node, quote=False) if isinstance(node, str) else render_node(node, data))
    return "".join(out)


def render_node(node, data):
    tail = htmllib.escape(node.tail or "", quote=False)
    if not isinstance(node.tag, str):
        return tail
    if node.tag in ELEMENTS:
        try:
            return render(call_element(node.tag, "render", alone(node), data) or "", data) + tail
        except Missing:
            return tail
    attributes = "".join(f' {k}="{htmllib.escape(v)}"' for k, v in node.attrib.items())
    inner = htmllib.escape(node.text or "", quote=False) + "".join(render_node(child, data) for child in node)
    close = "" if node.tag in VOID else f"</{node.tag}>"
    return f"<{node.tag}{attributes}>{inner}{close}{tail}"


def phase(qid, method, data):
    info = json.loads((COURSE / "questions" / qid / "info.json").read_text("utf-8"))
    result = None
    if method == "render":
        result = render(page(qid, data), data)
    elif method != "generate":
        for element in elements_of(page(qid, data)):
            try:
                call_element(element.tag, method, alone(element), data)
            except Missing:
                continue
    if method in ("grade", "test"):
        parts = data["partial_scores"].values()
        total = sum(part.get("weight", 1) for part in parts)
        score = sum(part["score"] * part.get("weight", 1) for part in parts) / total if total else 0
        data["score"] = score if info.get("partialCredit", True) or score >= 1 else 0
    try:
        answer = call_question(qid, method, data, result)
    except Missing:
        return result
    return answer if method in ("render", "file") else None


# --- requests


def plain(value):
    """What a JSON value is after JavaScript has read and written it: 2.0 becomes 2."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    return value


def through_json(data):
    return json.loads(json.dumps(plain(data), allow_nan=False))


def variant_of(qid, data):
    phase(qid, "generate", data)
    data = through_json(data) | {"answers_names": {}}
    phase(qid, "prepare", data)
    del data["answers_names"]
    return through_json(data)


def submit(qid, variant, raw):
    """Parse what a student sent and, when it has no format error, grade it."""
    data = through_json(variant | {"raw_submitted_answers": raw, "submitted_answers": raw})
    data |= {"format_errors": {}, "feedback": {}}
    phase(qid, "parse", data)
    data = through_json(data)
    if not data["format_errors"]:
        data |= {"partial_scores": {}, "score": 0}
        phase(qid, "grade", data)
    return through_json(data)


def life(qid, data):
    variant = variant_of(qid, data)
    empty = {"format_errors": {}, "raw_submitted_answers": {}, "partial_scores": {}, "feedback": {}, "score": 0}
    tests, panels = {}, {}
    for kind in ("correct", "incorrect", "invalid"):
        promise = through_json(variant | empty | {"gradable": True, "test_type": kind})
        phase(qid, "test", promise)
        promise = through_json(promise)
        tests[kind] = {"promise": promise, "got": submit(qid, variant, promise["raw_submitted_answers"])}
    for panel in ("question", "submission", "answer"):
        data = through_json(variant | empty | {"submitted_answers": {}, "panel": panel, "editable": panel == "question"})
        panels[panel] = phase(qid, "render", data)
    return {"variant": variant, "tests": tests, "panels": panels}


def answer(request):
    if request["op"] == "compile":
        path = COURSE / request["name"]
        compile(path.read_text("utf-8"), str(path), "exec")
        return {}
    data, method, name = request["data"], request.get("method"), request["name"]
    if data.get("variant_seed") is not None:
        random.seed(data["variant_seed"])
        numpy.random.seed(data["variant_seed"])
    if request["op"] == "life":
        return {"data": life(name, data)}
    if request["op"] == "phase":
        result = phase(name, method, data)
    elif request["type"] == "question":
        result = call_question(name, method, data, request.get("html"))
    else:
        result = call_element(name, method, request["html"].encode(), data, request.get("extensions", False))
    if method == "render":
        return {"html": result}
    if method == "file":
        if isinstance(result, io.IOBase):
            result.seek(0)
            result = result.read()
        result = result.encode() if isinstance(result, str) else result or b""
        return {"file": base64.b64encode(result).decode()}
    return {"data": plain(data if result is None else result)}


def serve(request):
    try:
        return json.dumps(answer(request), allow_nan=False)
    except Missing as error:
        return json.dumps({"missing": str(error)})
    except BaseException as error:
        return json.dumps({"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()})


for line in sys.stdin:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        console = os.open(os.devnull, os.O_WRONLY)
        os.dup2(console, 1)
        os.dup2(console, 2)
        text = serve(json.loads(line))
        with os.fdopen(writer, "w") as out:
            out.write(text + "\n")
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as source:
        text = source.read()
    os.waitpid(child, 0)
    sys.stdout.write(text or '{"error": "the call ended without an answer"}\n')
    sys.stdout.flush()
