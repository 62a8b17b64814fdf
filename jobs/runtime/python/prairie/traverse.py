"""HTML fragments through lxml: visiting every element, or replacing elements as it goes.

Guarantees: documents are parsed by lxml.html, with libxml2's quirks. `execute`
visits elements in document order. `replace` is a stack machine: HTML that stands
in for an element is parsed and visited again, then follows the element's tail;
an element replaced by None disappears with its children. Text and attributes are
escaped on the way out, so that what was text stays text.
"""

from __future__ import annotations

from typing import Any, Callable, List

import lxml.html
from lxml import etree

from .faults import QuestionError

# https://html.spec.whatwg.org/multipage/syntax.html#void-elements
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
_RAW_TEXT = frozenset(("script", "style", "xmp", "iframe", "noembed", "noframes", "plaintext"))
MAX_REPLACED = 20_000

Visit = Callable[[Any], Any]


def outer_html(node: Any) -> bytes:
    """Return an element as controllers get it: ASCII bytes, without its tail."""
    return lxml.html.tostring(node, with_tail=False)


def execute(html: str, visit: Visit) -> None:
    """Call visit for every element of html in document order."""
    for fragment in _parse(html):
        if isinstance(fragment, str):
            continue
        for node in fragment.iter():
            if isinstance(node.tag, str):
                visit(node)


def replace(html: str, visit: Visit) -> str:
    """Return html after visit has replaced elements.

    visit returns the node itself to keep it, a string of HTML or a node to stand
    in for it, or None to drop it.
    """
    out: List[str] = []
    # Strings on the stack are finished markup; everything else is still to be visited.
    stack: List[Any] = _fragments(html)
    replaced = 0
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            out.append(item)
            continue
        if item.tail:
            stack.append(_text(item.tail))
        if not isinstance(item.tag, str):
            out.append(_markup(item))
            continue
        answer = visit(item)
        if answer is not item:
            replaced += 1
            if replaced > MAX_REPLACED:
                raise QuestionError(f"<{item.tag}> renders itself without end")
            if answer is not None:
                stack.extend(_fragments(answer))
            continue
        out.append(_open(item))
        if item.tag not in _VOID:
            stack.append(f"</{item.tag}>")
        stack.extend(reversed(item))
        if item.text:
            out.append(item.text if item.tag in _RAW_TEXT else _text(item.text))
    return "".join(out)


def _fragments(html: str) -> List[Any]:
    """Parse html into a stack: the last item is the document's first."""
    fragments = _parse(html)
    if fragments and isinstance(fragments[0], str):
        fragments[0] = _text(fragments[0])
    fragments.reverse()
    return fragments


def _parse(html: str) -> List[Any]:
    try:
        return lxml.html.fragments_fromstring(html)
    except Exception as exc:  # lxml raises errors of many types for odd documents
        raise QuestionError(f"the HTML cannot be parsed: {type(exc).__name__}: {exc}") from None


def _open(node: Any) -> str:
    attributes = "".join([f' {name}="{_attribute(value)}"' for name, value in node.items()])
    return f"<{node.tag}{attributes}>"


def _attribute(value: str) -> str:
    return _text(value).replace('"', "&quot;")


def _text(text: str) -> str:
    if "&" in text or "<" in text or ">" in text or "\xa0" in text:
        text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        text = text.replace("\xa0", "&nbsp;")
    return text


def _markup(node: Any) -> str:
    """Return a comment, or a processing instruction as the comment that HTML makes of it."""
    if isinstance(node, etree._ProcessingInstruction):
        return f"<!--?{node.target} {node.text or ''}-->"
    if isinstance(node, etree._Comment):
        return f"<!--{node.text or ''}-->"
    return etree.tostring(node, encoding="unicode", with_tail=False)
