"""JSON by JavaScript's rules, against answers recorded from Node and against itself."""

from __future__ import annotations

import json
import os
import random
import unittest
from typing import Any

from prairie import jsonjs
from support import table

with open(os.path.join(os.path.dirname(__file__), "golden", "javascript.json"), encoding="utf-8") as file:
    GOLDEN = json.load(file)


def as_double(text: str) -> Any:
    """Parse an integer of a golden text as a call would see it."""
    return int(text) if abs(int(text)) <= jsonjs.MAX_SAFE else float(text)


@table([(text, text, expected) for text, expected in GOLDEN["numbers"]])
class Numbers(unittest.TestCase):
    """Numbers print as JavaScript prints them."""

    def check(self, text: str, expected: str) -> None:
        self.assertEqual(jsonjs.js_number(json.loads(text)), expected)


@table([(text, text, expected) for text, expected in GOLDEN["trees"]])
class Trees(unittest.TestCase):
    """decode sees what JavaScript would have handed on."""

    def check(self, text: str, expected: str) -> None:
        # repr tells 2 from 2.0 and one key order from another.
        self.assertEqual(repr(jsonjs.decode(text)), repr(json.loads(expected, parse_int=as_double)))
        self.assertEqual(repr(jsonjs.decode(text.encode())), repr(jsonjs.decode(text)))


@table([(text, text) for text in ("NaN", "[Infinity]", "-Infinity", "{", "", "[1,]", "{'a':1}", "1 2", "\ufeff1")])
class Refused(unittest.TestCase):
    """What JSON.parse refuses is refused."""

    def check(self, text: str) -> None:
        with self.assertRaises(ValueError):
            jsonjs.decode(text)


@table([
    (repr(value), value, text)
    for value, text in (
        (2.0, "2"), (-0.0, "0"), (1e300, "1e+300"), ((1, 2), "[1,2]"), ({2: 1, "b": 2, 1: 3}, '{"1":3,"2":1,"b":2}'),
        (True, "true"), (None, "null"), ("é\ud800", '"\\u00e9\\ud800"'), ({True: 1, None: 2, 1.5: 3}, '{"true":1,"null":2,"1.5":3}'),
        (2**53 - 1, "9007199254740991"), (1e20, "1e+20"),
    )
])  # fmt: skip
class Encoded(unittest.TestCase):
    """encode is strict JSON with JavaScript's numbers."""

    def check(self, value: Any, text: str) -> None:
        self.assertEqual(jsonjs.encode(value), text.encode())


@table([(repr(value)[:40], value) for value in (float("nan"), [float("-inf")], 2**53, {"a": {1}}, {(): 1}, object())])
class NotEncoded(unittest.TestCase):
    """encode refuses what has no JSON."""

    def check(self, value: Any) -> None:
        with self.assertRaises(jsonjs.NotJSON):
            jsonjs.encode(value)


class Fuzz(unittest.TestCase):
    """Random trees keep their meaning and settle at once."""

    def tree(self, rnd: random.Random, depth: int = 0) -> Any:
        kind = rnd.randrange(9 if depth < 4 else 6)
        if kind == 0:
            return rnd.choice([None, True, False])
        if kind == 1:
            return rnd.randint(-(2**53) + 1, 2**53 - 1)
        if kind == 2:
            return float(rnd.randint(-100, 100))
        if kind == 3:
            return rnd.uniform(-1, 1) * 10 ** rnd.randint(-300, 300)
        if kind < 6:
            return "".join(chr(rnd.choice([rnd.randrange(128), rnd.randrange(0xD800), 0x1F600])) for _ in range(3))
        if kind == 6:
            return [self.tree(rnd, depth + 1) for _ in range(rnd.randrange(4))]
        keys = [rnd.choice(["a", "b", "", rnd.randrange(20), str(rnd.randrange(20)), "01"]) for _ in range(4)]
        return {key: self.tree(rnd, depth + 1) for key in keys}

    def test_trees(self) -> None:
        rnd = random.Random(1)
        for _ in range(3000):
            tree = self.tree(rnd)
            text, settled = jsonjs.normalise(tree)
            self.assertEqual(jsonjs.decode(text), settled)
            once = jsonjs.encode(tree)
            self.assertEqual(repr(jsonjs.decode(once)), repr(settled))
            self.assertEqual(jsonjs.encode(settled), once)
            copied = jsonjs.copy(settled)
            self.assertEqual(repr(copied), repr(settled))
            if isinstance(settled, (list, dict)) and settled:
                self.assertIsNot(copied, settled)

    def test_bytes(self) -> None:
        rnd = random.Random(2)
        good = b'{"a":[1,2.50,-0.0,1e5,"x\\u00e9"],"10":null,"9":{"1":true}}'
        for _ in range(5000):
            raw = bytearray(good)
            for _ in range(rnd.randrange(1, 4)):
                raw[rnd.randrange(len(raw))] = rnd.randrange(256)
            try:
                jsonjs.encode(jsonjs.decode(bytes(raw)))
            except ValueError:
                continue
