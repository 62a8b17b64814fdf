"""<ps-multiple-choice answers-name="a"> around <ps-answer correct="true">…</ps-answer> and its rivals.

prepare shuffles the answers with the variant's random stream and gives them
letters, unless fixed-order is true.
"""

import random

import ps_element as ps

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def prepare(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    ps.claim(data, name)
    answers = [(ps.inner(child), ps.flag(child, "correct")) for child in element if child.tag == "ps-answer"]
    if not 2 <= len(answers) <= len(LETTERS):
        raise ValueError(f'<ps-multiple-choice answers-name="{name}">: it needs 2 to {len(LETTERS)} answers')
    if sum(right for _, right in answers) != 1:
        raise ValueError(f'<ps-multiple-choice answers-name="{name}">: exactly one answer must be correct')
    if not ps.flag(element, "fixed-order"):
        random.shuffle(answers)
    data["params"][name] = [{"key": LETTERS[i], "html": text} for i, (text, _) in enumerate(answers)]
    for i, (text, right) in enumerate(answers):
        if right:
            data["correct_answers"][name] = {"key": LETTERS[i], "html": text}


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    choices = data.get("params", {}).get(name, [])
    panel = data.get("panel", "question")
    if panel == "question":
        chosen = ps.raw_answer(data, name)
        state = "" if data.get("editable", True) else " disabled"
        return '<div class="ps-choices">' + "".join(_choice(name, c, c["key"] == chosen, state) for c in choices) + "</div>"
    if panel == "submission":
        shown = {c["key"]: c["html"] for c in choices}.get(ps.submitted(data, name), "")
        return ps.submission(data, name, f"({ps.escape(ps.submitted(data, name))}) {shown}")
    wanted = data.get("correct_answers", {}).get(name)
    return f'<span class="ps-answer-value">({wanted["key"]}) {wanted["html"]}</span>' if wanted else ""


def _choice(name, choice, checked, state):
    return (
        '<label class="form-check"><input class="form-check-input" type="radio" '
        f'name="{ps.escape(name)}" value="{choice["key"]}"{" checked" if checked else ""}{state}> '
        f'({choice["key"]}) {choice["html"]}</label>'
    )


def parse(element_html, data):
    name = ps.text(ps.parse(element_html), "answers-name")
    key = data["submitted_answers"].get(name)
    if key is None:
        return ps.refuse(data, name, "No answer is chosen.")
    if key not in [choice["key"] for choice in data["params"].get(name, [])]:
        return ps.refuse(data, name, "The answer is not one of the choices.")


def grade(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"].get(name)
    if wanted:
        right = ps.submitted(data, name) == wanted["key"]
        ps.score(data, name, 1 if right else 0, ps.number(element, "weight", 1))


def test(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"][name]["key"]
    wrong = next(choice["key"] for choice in data["params"][name] if choice["key"] != wanted)
    ps.expect(data, name, ps.number(element, "weight", 1), {"correct": wanted, "incorrect": wrong, "invalid": "?"})
