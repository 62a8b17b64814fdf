"""Mustache against answers recorded from mustache.js, and against random templates."""

from __future__ import annotations

import json
import os
import random
import unittest
from typing import Any, Optional

from prairie import jsonjs, mustache
from support import table

with open(os.path.join(os.path.dirname(__file__), "golden", "mustache.json"), encoding="utf-8") as file:
    GOLDEN = json.load(file)
VIEWS = [jsonjs.decode(json.dumps(view)) for view in GOLDEN["views"]]


@table([(template[:30], *case) for case in GOLDEN["cases"] for template in case[:1]])
class Recorded(unittest.TestCase):
    """Every recorded template renders as mustache.js rendered it, or is refused as it was."""

    def check(self, template: str, view: int, expected: Optional[str]) -> None:
        if expected is None:
            with self.assertRaises(mustache.TemplateError):
                mustache.render(template, VIEWS[view])
        else:
            self.assertEqual(mustache.render(template, VIEWS[view]), expected)


@table([
    ("escapes", "{{x}}", {"x": "&<>\"'/`="}, "&amp;&lt;&gt;&quot;&#39;&#x2F;&#x60;&#x3D;"),
    ("escapes once", "{{x}}", {"x": "&amp;"}, "&amp;amp;"),
    ("unescaped", "{{{x}}}{{&x}}", {"x": "<&>"}, "<&><&>"),
    ("integral float", "{{x}}", {"x": 2.0}, "2"),
    ("large", "{{x}}", {"x": 1e21}, "1e+21"),
    ("fraction", "{{x}}", {"x": 0.1}, "0.1"),
    ("list prints as JavaScript", "{{x}}", {"x": [1, [2, None], "a"]}, "1,2,,a"),
    ("object prints as JavaScript", "{{{x}}}", {"x": {"a": 1}}, "[object Object]"),
    ("true in a section keeps the context", "{{#t}}{{x}}{{/t}}", {"t": True, "x": 1}, "1"),
    ("null item is an empty context", "{{#l}}[{{x}}]{{/l}}", {"l": [None], "x": 1}, "[1]"),
    ("null item printed", "{{#l}}[{{.}}]{{/l}}", {"l": [None]}, "[]"),
    ("inner name hides the outer", "{{#a}}{{x}}{{/a}}", {"a": {"x": None}, "x": 1}, ""),
    ("no lambdas, no Python attributes", "{{x.__class__}}{{x.keys}}", {"x": {}}, ""),
])  # fmt: skip
class Rendering(unittest.TestCase):
    """Rules that deserve a name."""

    def check(self, template: str, view: Any, expected: str) -> None:
        self.assertEqual(mustache.render(template, view), expected)


class Fuzz(unittest.TestCase):
    """Random templates end, with text or TemplateError, and plain text is kept."""

    def test_random(self) -> None:
        rnd = random.Random(3)
        pieces = ["{{", "}}", "{{{", "}}}", "{{#", "{{^", "{{/", "{{=", "=}}", "<%", "%>", "a", "b.c", ".", " ", "\n", "{{!", "é"]
        for _ in range(4000):
            template = "".join(rnd.choice(pieces) for _ in range(rnd.randrange(14)))
            try:
                text = mustache.render(template, VIEWS[0])
            except mustache.TemplateError:
                continue
            if "{{" not in template:
                self.assertEqual(text, template)

    def test_deep_sections(self) -> None:
        template = "{{#t}}" * 50 + "x" + "{{/t}}" * 50
        self.assertEqual(mustache.render(template, {"t": True}), "x")
