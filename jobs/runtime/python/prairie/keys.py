"""The keys of `data`: which a phase sees, their types, which it may edit.

Guarantees: `check` accepts exactly the table below; its first complaint names
the key. `admit` brings a caller's data into the table's shape before a phase:
keys of other phases are set aside (and given back by the caller of this module),
absent ones that have a neutral value get it, unknown ones are refused.
"""

from __future__ import annotations

from typing import Any, Dict, NamedTuple, Tuple

from .faults import QuestionError

PHASES = ("generate", "prepare", "render", "parse", "grade", "test", "file")

# "-" absent, "y" present, "E" present and editable; columns in the order of PHASES.
_TABLE = """
params                object   E E y E E y y
correct_answers       object   E E y E E y y
variant_seed          integer  y y y y y y y
options               object   y y y y y y y
preferences           object   y y y y y y y
submitted_answers     object   - - y E E - y
format_errors         object   - - y E E E y
raw_submitted_answers object   - - y y y E y
partial_scores        object   - - y - E E y
score                 number   - - y - E E y
feedback              object   - - y E E E y
editable              boolean  - - y - - - -
manual_grading        boolean  - - y - - - -
ai_grading            boolean  - - y - - - -
correct_answer_shown  boolean  - - y - - - -
panel                 string   - - y - - - -
num_valid_submissions integer  - - y - - - y
gradable              boolean  - - - y y y -
filename              string   - - - - - - y
test_type             string   - - - - - y -
answers_names         object   - E - - - - -
"""

_NEUTRAL: Dict[str, Any] = {"boolean": False, "number": 0, "integer": 0}
_DEFAULTS: Dict[str, Any] = {"panel": "question", "gradable": True}
_REQUIRED = ("variant_seed", "filename", "test_type")


class Key(NamedTuple):
    """One cell of the table."""

    type: str
    editable: bool


def _parse() -> Tuple[Dict[str, Dict[str, Key]], frozenset]:
    rows = [line.split() for line in _TABLE.strip().splitlines()]
    table: Dict[str, Dict[str, Key]] = {phase: {} for phase in PHASES}
    for name, kind, *cells in rows:
        for phase, cell in zip(PHASES, cells):
            if cell != "-":
                table[phase][name] = Key(kind, cell == "E")
    return table, frozenset(row[0] for row in rows)


TABLE, KNOWN = _parse()


def has_type(value: Any, kind: str) -> bool:
    """Tell whether value is of one of the table's types."""
    if kind == "object":
        return isinstance(value, dict)
    if kind == "string":
        return isinstance(value, str)
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, (int, float) if kind == "number" else int) and not isinstance(value, bool)


def admit(phase: str, data: dict) -> Tuple[dict, dict]:
    """Split data into what the phase sees, completed, and what is set aside."""
    row = TABLE[phase]
    seen, aside = {}, {}
    for key, value in data.items():
        if key in row:
            seen[key] = value
        elif key in KNOWN:
            aside[key] = value
        else:
            raise QuestionError(f'data has the unknown key "{key}" before {phase}()')
    for key, cell in row.items():
        if key in seen:
            if not has_type(seen[key], cell.type):
                raise QuestionError(f'data["{key}"] is not of type {cell.type} before {phase}()')
        elif key in _REQUIRED:
            raise QuestionError(f'data["{key}"] is missing before {phase}()')
        else:
            seen[key] = _DEFAULTS[key] if key in _DEFAULTS else _NEUTRAL.get(cell.type, {})
    return seen, aside


def _differ(one: Any, other: Any) -> bool:
    try:
        return bool(one != other)
    except Exception:  # an array has no truth; whatever this is, it was not there before
        return True


def check(phase: str, before: dict, after: Any, where: str) -> None:
    """Refuse missing, extra, wrongly typed and illegally changed keys after a call.

    The keys of `before` are those that must be there; the table gives types and
    what may change, so a caller with older or newer keys is judged by its own.
    """
    if not isinstance(after, dict):
        raise QuestionError(f"{where} made data {type(after).__name__}, not a dictionary")
    for key in before:
        if key not in after:
            raise QuestionError(f'data["{key}"] is missing after {where}')
    row = TABLE[phase]
    for key, value in after.items():
        if key not in before:
            raise QuestionError(f"data has the extra key {key!r} after {where}")
        cell = row.get(key)
        if cell is not None and not has_type(value, cell.type):
            raise QuestionError(f'data["{key}"] is not of type {cell.type} after {where}')
        if (cell is None or not cell.editable) and _differ(value, before[key]):
            raise QuestionError(f'data["{key}"] has been illegally modified by {where}')
