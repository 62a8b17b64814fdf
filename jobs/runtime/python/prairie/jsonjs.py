"""JSON as it looks after JavaScript has held it.

Upstream a JavaScript server stands between any two calls, and real questions
depend on what that does to numbers and key order. Guarantees:

* decode: 2.0 and 1e2 become int, -0.0 becomes 0, integers beyond 2^53-1 become
  float, numbers beyond a double become None, integer-like keys come first in
  ascending order; NaN and Infinity are refused.
* encode and normalise are strict: NaN, Infinity, integers beyond 2^53-1 and
  whatever JSON has no word for (sets, numpy.int64, ...) raise NotJSON with the
  path of the key. Floats of numpy, tuples and int keys are fine.
* normalise returns a new tree that shares nothing with its argument.
"""

from __future__ import annotations

import json
import marshal
import math
import re
from typing import Any, Callable, List, Optional, Tuple

MAX_SAFE = 2**53 - 1

# Only text that matches can need JavaScript's rules: a fraction, an exponent, a
# long integer, a key of digits. Everything else takes the decoder in C alone.
_NEEDS_RULES = re.compile(r'[0-9][.eE]|[0-9]{16}|"(?:0|[1-9][0-9]{0,9})"\s*:')
_INDEX = re.compile(r"(?:0|[1-9][0-9]{0,9})\Z")
_MAX_INDEX = 2**32 - 2


class NotJSON(ValueError):
    """A value that JSON between two calls cannot hold; the message names its path."""


def _float(text: str) -> Any:
    value = float(text)
    if not math.isfinite(value):
        return None
    return int(value) if value.is_integer() and abs(value) <= MAX_SAFE else value


def _int(text: str) -> Any:
    if len(text) < 16:
        return int(text)
    return _float(text)


def _strict_int(text: str) -> int:
    if len(text) < 18:
        value = int(text)
        if -MAX_SAFE <= value <= MAX_SAFE:
            return value
    raise NotJSON("an integer beyond 2^53-1")


def _constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _is_index(key: str) -> bool:
    return _INDEX.match(key) is not None and int(key) <= _MAX_INDEX


def _pairs(pairs: List[Tuple[str, Any]]) -> dict:
    tree = dict(pairs)
    indices = [key for key in tree if _is_index(key)]
    if not indices:
        return tree
    indices.sort(key=int)
    ordered = {key: tree[key] for key in indices}
    for key, value in tree.items():
        if key not in ordered:
            ordered[key] = value
    return ordered


_plain = json.JSONDecoder(parse_constant=_constant)
_lenient = json.JSONDecoder(
    parse_float=_float, parse_int=_int, parse_constant=_constant, object_pairs_hook=_pairs
)
_strict = json.JSONDecoder(
    parse_float=_float, parse_int=_strict_int, parse_constant=_constant, object_pairs_hook=_pairs
)
_encoder = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


def decode(raw: Any) -> Any:
    """Parse JSON (bytes or str) by JavaScript's rules; ValueError when it is not JSON."""
    text = raw if isinstance(raw, str) else bytes(raw).decode("utf-8", "surrogatepass")
    decoder = _lenient if _NEEDS_RULES.search(text) else _plain
    return decoder.decode(text)


def normalise(
    value: Any, name: str = "data", check: Optional[Callable[[int], None]] = None
) -> Tuple[str, Any]:
    """Return value's JSON text and the tree the next call would see, or raise NotJSON.

    check is given the text's length before the tree is made of it.
    """
    try:
        text = _encoder.encode(value)
        if check:
            check(len(text))
        return text, (_strict if _NEEDS_RULES.search(text) else _plain).decode(text)
    except RecursionError:
        raise NotJSON(f"{name} is nested too deeply") from None
    except (TypeError, ValueError, OverflowError) as exc:
        raise NotJSON(_culprit(value, name, []) or f"{name} is not JSON: {exc}") from None


def encode(value: Any) -> bytes:
    """Return value as strict JSON in ASCII bytes, numbers and keys as JavaScript has them."""
    text, tree = normalise(value, "value")
    if _NEEDS_RULES.search(text):
        text = _encoder.encode(tree)
    return text.encode("ascii")


def copy(tree: Any) -> Any:
    """Return an independent copy of a tree that decode or normalise made."""
    try:
        return marshal.loads(marshal.dumps(tree))
    except ValueError:  # deeper than marshal goes, or not plain
        return normalise(tree)[1]


def _culprit(value: Any, path: str, above: List[int]) -> Optional[str]:
    """Name the first value below path that JSON cannot hold."""
    if value is None or isinstance(value, (str, bool)):
        return None
    if isinstance(value, int):
        if abs(int(value)) > MAX_SAFE:
            return f"{path} is an integer beyond 2^53-1; use a string or a float"
        return None
    if isinstance(value, float):
        return None if math.isfinite(value) else f"{path} is {float(value)!r}, which JSON cannot hold"
    if isinstance(value, (dict, list, tuple)):
        if id(value) in above:
            return f"{path} contains itself"
        if len(above) > 200:
            return f"{path} is nested too deeply"
        above.append(id(value))
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            if isinstance(value, dict) and not isinstance(key, (str, int, float, type(None))):
                return f"{path} has a key of type {_type(key)}, which JSON cannot hold"
            found = _culprit(item, f"{path}[{_key(key)}]", above)
            if found:
                return found
        above.pop()
        return None
    return f"{path} is of type {_type(value)}, which JSON cannot hold"


def _key(key: Any) -> str:
    text = json.dumps(key, ensure_ascii=False) if isinstance(key, str) else str(key)
    return text if len(text) <= 80 else text[:80] + "…"


def _type(value: Any) -> str:
    kind = type(value)
    module = kind.__module__
    return kind.__qualname__ if module == "builtins" else f"{module}.{kind.__qualname__}"


def js_string(value: Any) -> str:
    """Return what JavaScript's String() makes of a JSON value."""
    if isinstance(value, str):
        return value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return js_number(value)
    if isinstance(value, dict):
        return "[object Object]"
    return ",".join("" if item is None else js_string(item) for item in value)


def js_number(value: float) -> str:
    """Return a number as JavaScript prints it: 2.0 as 2, 1e21 as 1e+21, 1e-5 as 0.00001."""
    if isinstance(value, int):
        if abs(value) <= MAX_SAFE:
            return str(int(value))
        value = float(value)
    if not math.isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    text = float.__repr__(value)
    if "e" not in text:
        text = text[:-2] if text.endswith(".0") else text
        return "0" if text == "-0" else text
    mantissa, exponent = text.split("e")
    power = int(exponent)
    if power >= 21:
        return f"{mantissa}e+{power}"
    if power < -6:
        return f"{mantissa}e{power}"
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    digits = digits.replace(".", "")
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return sign + digits + "0" * (power + 1 - len(digits))
