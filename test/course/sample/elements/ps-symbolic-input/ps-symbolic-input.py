"""<ps-symbolic-input answers-name="f" variables="x, y" label="f(x) =">: an expression, compared by sympy."""

import ps_element as ps
from prairie import expressions


def prepare(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    ps.claim(data, name)
    if element.get("correct-answer") is not None:
        data["correct_answers"][name] = ps.text(element, "correct-answer")
    if name in data["correct_answers"]:
        expressions.read(data["correct_answers"][name], _variables(element))


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    panel = data.get("panel", "question")
    if panel == "question":
        return ps.field(data, name, ps.escape(ps.text(element, "label", "")), "", 36)
    if panel == "submission":
        return ps.submission(data, name, f"<code>{ps.escape(ps.submitted(data, name))}</code>")
    wanted = data.get("correct_answers", {}).get(name)
    return "" if wanted is None else f'<code class="ps-answer-value">{ps.escape(wanted)}</code>'


def parse(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    try:
        value = expressions.read(ps.given(data, name), _variables(element))
    except expressions.ExpressionError as error:
        return ps.refuse(data, name, str(error))
    data["submitted_answers"][name] = expressions.show(value)


def grade(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted, value = data["correct_answers"].get(name), ps.submitted(data, name)
    if wanted is None or value is None:
        return
    names = _variables(element)
    right = expressions.same(expressions.read(value, names), expressions.read(wanted, names))
    ps.score(data, name, 1 if right else 0, ps.number(element, "weight", 1))


def test(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"].get(name)
    if wanted is None:
        return
    answers = {"correct": f"({wanted}) + 1 - 1", "incorrect": f"({wanted}) + 1", "invalid": "2x +"}
    ps.expect(data, name, ps.number(element, "weight", 1), answers)


def _variables(element):
    return [name.strip() for name in ps.text(element, "variables", "x").split(",")]
