"""The key table, cell by cell: present, typed, editable."""

from __future__ import annotations

from typing import Any, Dict, List

from prairie import keys
from support import CourseCase, forked, session, table

# The table as PrairieLearn's documentation of the phases has it: y present, E editable.
ROWS: Dict[str, List[str]] = {
    "params": "E E y E E y y".split(),
    "correct_answers": "E E y E E y y".split(),
    "variant_seed": "y y y y y y y".split(),
    "options": "y y y y y y y".split(),
    "preferences": "y y y y y y y".split(),
    "submitted_answers": "- - y E E - y".split(),
    "format_errors": "- - y E E E y".split(),
    "raw_submitted_answers": "- - y y y E y".split(),
    "partial_scores": "- - y - E E y".split(),
    "score": "- - y - E E y".split(),
    "feedback": "- - y E E E y".split(),
    "editable": "- - y - - - -".split(),
    "manual_grading": "- - y - - - -".split(),
    "ai_grading": "- - y - - - -".split(),
    "correct_answer_shown": "- - y - - - -".split(),
    "panel": "- - y - - - -".split(),
    "num_valid_submissions": "- - y - - - y".split(),
    "gradable": "- - - y y y -".split(),
    "filename": "- - - - - - y".split(),
    "test_type": "- - - - - y -".split(),
    "answers_names": "- E - - - - -".split(),
}
GOOD: Dict[str, Any] = {
    "variant_seed": 7, "score": 0.5, "editable": True, "manual_grading": False, "ai_grading": False,
    "correct_answer_shown": False, "panel": "question", "num_valid_submissions": 2, "gradable": True,
    "filename": "f", "test_type": "correct",
}  # fmt: skip
OTHER = {dict: {"k": 1}, bool: None, int: 99, float: 0.25, str: "other"}


class NoTruth:
    """Compares as numpy's arrays do."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")


ELEMENT = """
def act(h, data):
    step = STEP.get('do')
    if step == 'see': STEP['seen'] = sorted(data)
    elif step == 'set': data[STEP['key']] = STEP['value']
    elif step == 'del': del data[STEP['key']]
    return '' if STEP['phase'] == 'render' else None
import sys
STEP = sys.modules['step'].STEP
generate = prepare = render = parse = grade = test = file = act
"""
SERVER = ELEMENT.replace("act(h, data)", "act(data, html=None)")


def full(phase: str) -> Dict[str, Any]:
    """Return data with every key of a phase."""
    column = keys.PHASES.index(phase)
    return {key: GOOD.get(key, {}) for key, cells in ROWS.items() if cells[column] != "-"}


@table([(f"{where}_{phase}", where, phase) for where in ("element", "server") for phase in keys.PHASES])
class Table(CourseCase):
    """Every cell, for elements and for server.py."""

    def check(self, where: str, phase: str) -> None:
        if where == "element" and phase == "generate":
            return
        if where == "element":
            self.element(ELEMENT)
            self.question(None, "<x-a></x-a>")
        else:
            self.question(SERVER)
        for problem in forked(lambda: self.problems(where, phase)):
            self.fail(problem)

    def problems(self, where: str, phase: str) -> List[str]:
        import sys

        step: Dict[str, Any] = {"phase": phase}
        module = type(sys)("step")
        module.STEP = step
        sys.modules["step"] = module
        one = session.Session({"course": self.root, "question": "q"})
        found = []

        def run(expected: str, **action: Any) -> Dict[str, Any]:
            step.clear()
            step.update(phase=phase, **action)
            answer = one.call({"type": "phase", "method": phase}, full(phase))
            if answer["outcome"] != expected:
                found.append(f"{action}: {answer}")
            return answer

        lent = {"extensions"} if where == "element" else set()
        run("ok", do="see")
        if set(step["seen"]) != set(full(phase)) | lent:
            found.append(f"sees {step['seen']}")
        returns_data = phase not in ("render", "file") or where == "element"
        fault = "question_error" if returns_data else "ok"
        for key, cells in ROWS.items():
            cell = cells[keys.PHASES.index(phase)]
            value = GOOD.get(key, {})
            other = OTHER[type(value)] if not isinstance(value, bool) else not value
            if cell == "-":
                run(fault, do="set", key=key, value=value)
                continue
            run(fault, do="del", key=key)
            run(fault, do="set", key=key, value=[1])
            run("ok" if cell == "E" else fault, do="set", key=key, value=other)
        run(fault, do="set", key="extra", value=1)
        run(fault, do="set", key="options", value={"question_path": NoTruth()})
        return found


class Admission(CourseCase):
    """What a caller's data must be before a phase."""

    def test_absent_keys_get_neutral_values(self) -> None:
        self.question("def grade(data): data['params']['seen'] = {k: data[k] for k in ('score', 'feedback', 'gradable')}")
        data = self.call("phase", "grade", data={"variant_seed": 1})["data"]
        self.assertEqual(data["params"]["seen"], {"score": 0, "feedback": {}, "gradable": True})

    def test_required_keys(self) -> None:
        self.question("")
        for phase, key in (("generate", "variant_seed"), ("file", "filename"), ("test", "test_type")):
            data = {k: v for k, v in full(phase).items() if k != key}
            self.assertFault(self.call("phase", phase, data=data), f'data["{key}"] is missing before {phase}()')

    def test_wrong_types(self) -> None:
        self.question("")
        answer = self.call("phase", "render", data={**full("render"), "params": []})
        self.assertFault(answer, 'data["params"] is not of type object before render()')

    def test_unknown_keys(self) -> None:
        self.question("")
        answer = self.call("phase", "render", data={**full("render"), "parms": {}})
        self.assertFault(answer, 'unknown key "parms"')

    def test_keys_of_other_phases_are_kept_but_not_shown(self) -> None:
        self.question("def generate(data): data['params']['keys'] = sorted(data)")
        data = self.call("phase", "generate", data={"variant_seed": 1, "answers_names": {"a": True}})["data"]
        self.assertEqual(data["answers_names"], {"a": True})
        self.assertNotIn("answers_names", data["params"]["keys"])

    def test_a_single_call_needs_only_what_was_sent(self) -> None:
        self.question("def generate(data): data['extra'] = 1")
        self.assertEqual(self.call("question", "generate", data={})["data"], {"extra": 1})
