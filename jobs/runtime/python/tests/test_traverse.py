"""Element traversal: what is visited, what comes back."""

from __future__ import annotations

import random
import unittest
from html import escape
from typing import Any

import lxml.html

from prairie import traverse
from prairie.faults import QuestionError
from support import table


def keep(node: Any) -> Any:
    """Replace nothing."""
    return node


@table([
    ("text", "a &lt; b &amp; c", "a &lt; b &amp; c"),
    ("leading text and tails", "a <b>c</b> d &lt;i&gt;", "a <b>c</b> d &lt;i&gt;"),
    ("nested", "<p>a<b>c<i>d</i>e</b>f</p>g", "<p>a<b>c<i>d</i>e</b>f</p>g"),
    ("void elements", '<p>a<br>b<img src="x">c<input></p>', '<p>a<br>b<img src="x">c<input></p>'),
    ("attributes", "<p a='x \"y\" &amp; &lt;z'>t</p>", '<p a="x &quot;y&quot; &amp; &lt;z">t</p>'),
    ("attribute without value, a quirk of libxml2", "<input disabled>", '<input disabled="disabled">'),
    ("comment", "a<!-- b -->c<!-- d -->", "a<!-- b -->c<!-- d -->"),
    ("script is raw", "<script>a < b && c</script>", "<script>a < b && c</script>"),
    ("style is raw", "<style>a > b {}</style>", "<style>a > b {}</style>"),
    ("processing instruction", "a<?xml version='1.0'?>b", "a<!--?xml version='1.0'?-->b"),
    ("no-break space", "a&nbsp;b", "a&nbsp;b"),
    ("unclosed", "<p>a<p>b", "<p>a</p><p>b</p>"),
    ("unknown elements", "<pl-x><pl-y></pl-y></pl-x>", "<pl-x><pl-y></pl-y></pl-x>"),
    ("empty", "", ""),
    ("accents", "<p title='é'>ü 😀</p>", '<p title="é">ü 😀</p>'),
    ("table", "<table><tr><td>1</td></tr></table>", "<table><tr><td>1</td></tr></table>"),
])  # fmt: skip
class Kept(unittest.TestCase):
    """HTML in which nothing is replaced."""

    def check(self, html: str, expected: str) -> None:
        self.assertEqual(traverse.replace(html, keep), expected)
        self.assertEqual(traverse.replace(expected, keep), expected)


def rules(node: Any) -> Any:
    """Replace x-* elements by what their name says."""
    inner = escape(node.text or "") + "".join(lxml.html.tostring(child, encoding="unicode") for child in node)
    return {
        "x-none": None,
        "x-empty": "",
        "x-text": "1 &lt; 2",
        "x-bold": f"<b>{inner}</b>",
        "x-two": "<i>a</i>m<i>b</i>",
        "x-twice": "<x-bold>in</x-bold>",
        "x-raw": "<script>1 < 2</script>",
    }.get(node.tag, node)


@table([
    ("disappears with its children", "a<x-none>b<i>c</i></x-none>d", "ad"),
    ("empty string", "a<x-empty>b</x-empty>d", "ad"),
    ("text", "a<x-text></x-text>d", "a1 &lt; 2d"),
    ("several nodes", "<p>a<x-two></x-two>d</p>", "<p>a<i>a</i>m<i>b</i>d</p>"),
    ("returned html is visited", "a<x-twice></x-twice>b", "a<b>in</b>b"),
    ("children are visited in what was returned", "<x-bold>a<x-none></x-none>b</x-bold>", "<b>ab</b>"),
    ("tail stays outside", "<x-bold>a</x-bold> t <x-bold>b</x-bold>", "<b>a</b> t <b>b</b>"),
    ("raw text survives", "<x-raw></x-raw>", "<script>1 < 2</script>"),
    ("inside a kept element", "<div><p>a<x-none>b</x-none></p><x-bold>c</x-bold></div>", "<div><p>a</p><b>c</b></div>"),
])  # fmt: skip
class Replaced(unittest.TestCase):
    """The stack machine."""

    def check(self, html: str, expected: str) -> None:
        self.assertEqual(traverse.replace(html, rules), expected)


class Visits(unittest.TestCase):
    """Order, arguments and bounds."""

    def test_document_order(self) -> None:
        seen = []
        traverse.execute("t<a>1<b>2</b></a><!-- c --><d></d>e", lambda node: seen.append(node.tag))
        self.assertEqual(seen, ["a", "b", "d"])

    def test_render_visits_outer_elements_first(self) -> None:
        seen = []

        def visit(node: Any) -> Any:
            seen.append(node.tag)
            return node

        traverse.replace("<a>1<b>2</b></a><d></d>", visit)
        self.assertEqual(seen, ["a", "b", "d"])

    def test_outer_html_is_bytes_without_the_tail(self) -> None:
        node = lxml.html.fragments_fromstring('<pl-x a="é">ü<b>z</b></pl-x>tail')[0]
        self.assertEqual(traverse.outer_html(node), b'<pl-x a="&#233;">&#252;<b>z</b></pl-x>')
        self.assertEqual(node.tail, "tail")

    def test_an_element_that_renders_itself(self) -> None:
        with self.assertRaisesRegex(QuestionError, "<x-a> renders itself without end"):
            traverse.replace("<x-a></x-a>", lambda node: "<x-a></x-a>")

    def test_deep_documents(self) -> None:
        html = traverse.replace("<div>" * 200 + "x" + "</div>" * 200, keep)
        self.assertEqual(html.count("<div>"), 200)

    def test_text_stays_text(self) -> None:
        rnd = random.Random(6)
        pieces = ["<div>", "</div>", "<b a='", "'>", "&lt;", "&amp;", "&#60;script&#62;", "x", '"', "<br>", "<x-bold>", "</x-bold>", "<!--", "-->"]
        for _ in range(2000):
            html = "".join(rnd.choice(pieces) for _ in range(rnd.randrange(14)))
            once = traverse.replace(html, rules)
            self.assertNotIn("<script", once)
            self.assertEqual(traverse.replace(once, rules), once, html)
