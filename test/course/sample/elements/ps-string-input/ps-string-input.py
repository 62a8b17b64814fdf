"""<ps-string-input answers-name="a" ignore-case="true" ignore-spaces="false" label="">"""

import ps_element as ps


def prepare(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    ps.claim(data, name)
    if element.get("correct-answer") is not None:
        data["correct_answers"][name] = ps.text(element, "correct-answer")


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    panel = data.get("panel", "question")
    if panel == "question":
        return ps.field(data, name, ps.escape(ps.text(element, "label", "")), "", int(ps.number(element, "size", 24)))
    if panel == "submission":
        return ps.submission(data, name, f"<code>{ps.escape(ps.submitted(data, name))}</code>")
    wanted = data.get("correct_answers", {}).get(name)
    return "" if wanted is None else f'<code class="ps-answer-value">{ps.escape(wanted)}</code>'


def parse(element_html, data):
    name = ps.text(ps.parse(element_html), "answers-name")
    text = ps.given(data, name)
    if not text:
        return ps.refuse(data, name, "There is no answer.")
    data["submitted_answers"][name] = text


def grade(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted, value = data["correct_answers"].get(name), ps.submitted(data, name)
    if wanted is None or value is None:
        return
    right = _key(element, value) == _key(element, str(wanted))
    ps.score(data, name, 1 if right else 0, ps.number(element, "weight", 1))


def test(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"].get(name)
    if wanted is None:
        return
    answers = {"correct": f" {wanted} ", "incorrect": f"not {wanted}", "invalid": "  "}
    ps.expect(data, name, ps.number(element, "weight", 1), answers)


def _key(element, text):
    """What is left of an answer when what does not matter is taken away."""
    text = "".join(text.split()) if ps.flag(element, "ignore-spaces") else " ".join(text.split())
    return text.casefold() if ps.flag(element, "ignore-case", True) else text
