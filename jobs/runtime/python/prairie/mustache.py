"""Mustache as mustache.js 4 renders it, over JSON data.

Guarantees: sections, inverted sections, dotted names, comments, set delimiters,
the three forms of variables, standalone lines, HTML escaping, truth and printing
of values are those of mustache.js. Partials render nothing, as they do there when
none are given; JSON holds no functions, so there are no lambdas. A template that
mustache.js refuses raises TemplateError; a null inside a list, where mustache.js
fails, is an empty context here.
"""

from __future__ import annotations

import re
from typing import Any, List, Optional, Tuple

from .jsonjs import js_string


class TemplateError(ValueError):
    """The template is not well-formed."""


# JavaScript's \s, which is not Python's.
_SPACE = "\t\n\v\f\r \xa0\u1680\u2028\u2029\u202f\u205f\u3000\ufeff" + "".join(map(chr, range(0x2000, 0x200B)))
_SPLIT = re.compile(f"[{_SPACE}]+")
_KIND = re.compile(r"[#^/>{&=!]")
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_ESCAPED = re.compile("[&<>\"'`=/]")
_ENTITIES = {
    "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;",
    "'": "&#39;", "/": "&#x2F;", "`": "&#x60;", "=": "&#x3D;",
}  # fmt: skip

Token = Tuple[str, str]
_NOTHING = object()


def escape(text: str) -> str:
    """Escape text for HTML exactly as mustache.js does."""
    return _ESCAPED.sub(lambda match: _ENTITIES[match.group()], text)


def render(template: str, view: Any) -> str:
    """Render a template with view, a JSON value."""
    out: List[str] = []
    _render(_nest(_tokens(template)), [view], out)
    return "".join(out)


def _tokens(template: str) -> List[Optional[Token]]:
    """Split a template into (kind, value); whitespace of standalone lines becomes None."""
    tokens: List[Optional[Token]] = []
    blanks: List[int] = []  # tokens of whitespace on the current line
    has_tag = has_text = False
    opening, closing = "{{", "}}"
    pos, end = 0, len(template)

    def end_line() -> None:
        nonlocal has_tag, has_text
        if has_tag and not has_text:
            for index in blanks:
                tokens[index] = None
        blanks.clear()
        has_tag = has_text = False

    while pos < end:
        start = template.find(opening, pos)
        for line in _LINES.findall(template[pos : start if start >= 0 else end]):
            if not line.strip(_SPACE):
                blanks.append(len(tokens))
            else:
                has_text = True
            tokens.append(("text", line))
            if line.endswith("\n"):
                end_line()
        if start < 0:
            break
        has_tag = True
        kind, value, pos = _tag(template, start + len(opening), closing)
        tokens.append((kind, value))
        if kind in ("name", "&"):
            has_text = True
        elif kind == "=":
            pair = _SPLIT.split(value)[:2]
            if len(pair) != 2:
                raise TemplateError(f"Invalid tags: {value}")
            opening, closing = pair
    end_line()
    return tokens


def _tag(template: str, pos: int, closing: str) -> Tuple[str, str, int]:
    """Read a tag after its opening delimiter: its kind, its value, where it ends."""
    pos = _skip(template, pos)
    match = _KIND.match(template, pos)
    kind = match.group() if match else "name"
    pos = _skip(template, match.end() if match else pos)
    end = template.find({"=": "=", "{": "}" + closing}.get(kind, closing), pos)
    value = template[pos:end].rstrip(_SPACE)
    if end >= 0 and kind in "={":
        end = template.find(closing, end + 1)
    if end < 0:
        raise TemplateError(f"Unclosed tag at {len(template)}")
    return ("&" if kind == "{" else kind), value, end + len(closing)


def _skip(template: str, pos: int) -> int:
    """Return where the whitespace at pos ends."""
    while pos < len(template) and template[pos] in _SPACE:
        pos += 1
    return pos


def _nest(tokens: List[Optional[Token]]) -> List[Any]:
    """Turn the flat list into a tree: sections become (kind, value, children)."""
    tree: List[Any] = []
    open_sections: List[Tuple[str, List[Any]]] = []
    into = tree
    for token in tokens:
        if token is None:
            continue
        kind, value = token
        if kind in "#^":
            children: List[Any] = []
            into.append((kind, value, children))
            open_sections.append((value, into))
            into = children
        elif kind == "/":
            if not open_sections:
                raise TemplateError(f'Unopened section "{value}"')
            name, into = open_sections.pop()
            if name != value:
                raise TemplateError(f'Unclosed section "{name}"')
        elif kind in ("text", "name", "&"):
            into.append(token)
    if open_sections:
        raise TemplateError(f'Unclosed section "{open_sections[-1][0]}"')
    return tree


def _render(tree: List[Any], views: List[Any], out: List[str]) -> None:
    for token in tree:
        kind, name = token[0], token[1]
        if kind == "text":
            out.append(name)
            continue
        value = _lookup(name, views)
        if kind == "#":
            _section(value, token[2], views, out)
        elif kind == "^":
            if not _true(value) or value == []:
                _render(token[2], views, out)
        elif value is not None:
            text = js_string(value)
            is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
            out.append(text if kind == "&" or is_number else escape(text))


def _section(value: Any, tree: List[Any], views: List[Any], out: List[str]) -> None:
    if not _true(value):
        return
    if value is True:
        _render(tree, views, out)
        return
    for item in value if isinstance(value, list) else (value,):
        views.append(item)
        _render(tree, views, out)
        views.pop()


def _true(value: Any) -> bool:
    """JavaScript's truth: empty lists and objects are true, as numbers 0 and "" are not."""
    return isinstance(value, (list, dict)) or bool(value)


def _lookup(name: str, views: List[Any]) -> Any:
    if name == ".":
        return views[-1]
    path = name.split(".") if name.find(".") > 0 else None
    for view in reversed(views):
        value = _descend(view, path) if path else _get(view, name, False)
        if value is not _NOTHING:
            return value
    return None


def _descend(view: Any, path: List[str]) -> Any:
    """Follow a dotted name; only its last step decides whether it was found."""
    last = len(path) - 1
    for index, name in enumerate(path):
        view = _get(view, name, True)
        if view is _NOTHING or (view is None and index < last):
            return _NOTHING
    return view


def _get(view: Any, name: str, primitives: bool) -> Any:
    """Return a property as JavaScript has it; _NOTHING where there is none."""
    if isinstance(view, dict):
        return view.get(name, _NOTHING)
    if isinstance(view, list) or (primitives and isinstance(view, str)):
        if name == "length":
            return len(view)
        if name.isascii() and name.isdigit() and str(int(name)) == name and int(name) < len(view):
            return view[int(name)]
    return _NOTHING
