"""<ps-number-input answers-name="a" rtol="0.01" label="a =" suffix="cm" weight="1">"""

import math

import ps_element as ps
from prairie import grading


def prepare(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    ps.claim(data, name)
    ps.number(element, "rtol", 1e-2)
    ps.number(element, "atol", 1e-8)
    if element.get("correct-answer") is not None:
        data["correct_answers"][name] = ps.number(element, "correct-answer")


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    suffix = ps.escape(ps.text(element, "suffix", ""))
    panel = data.get("panel", "question")
    if panel == "question":
        return ps.field(data, name, ps.escape(ps.text(element, "label", "")), suffix, 12)
    if panel == "submission":
        return ps.submission(data, name, f"<code>{ps.escape(ps.submitted(data, name))}</code> {suffix}")
    if name not in data.get("correct_answers", {}):
        return ""
    return f'<span class="ps-answer-value">{data["correct_answers"][name]} {suffix}</span>'


def parse(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    text = ps.given(data, name).replace("−", "-")
    if not text:
        return ps.refuse(data, name, "There is no answer.")
    try:
        value = float(text)
    except ValueError:
        return ps.refuse(data, name, "The answer is not a number.")
    if not math.isfinite(value):
        return ps.refuse(data, name, "The answer is not a finite number.")
    data["submitted_answers"][name] = value


def grade(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted, value = data["correct_answers"].get(name), ps.submitted(data, name)
    if wanted is None or value is None:
        return
    right = grading.close(float(value), float(wanted), ps.number(element, "rtol", 1e-2), ps.number(element, "atol", 1e-8))
    ps.score(data, name, 1 if right else 0, ps.number(element, "weight", 1))


def test(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"].get(name)
    if wanted is None:
        return
    ps.expect(
        data,
        name,
        ps.number(element, "weight", 1),
        {"correct": str(wanted), "incorrect": str(wanted + max(5, abs(wanted))), "invalid": "a dozen"},
    )
