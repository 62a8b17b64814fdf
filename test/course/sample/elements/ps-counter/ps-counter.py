"""<ps-counter answers-name="n" up-to="9">: the old signature with three arguments, as courses from before 2019 have it."""

import ps_element as ps


def prepare(element_html, element_index, data):
    if element_index is not None and not isinstance(element_index, int):
        raise TypeError(f"element_index is {element_index!r}")
    ps.claim(data, ps.text(ps.parse(element_html), "answers-name"))


def render(element_html, element_index, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    panel = data.get("panel", "question")
    if panel == "submission":
        return ps.submission(data, name, f"<code>{ps.escape(ps.submitted(data, name))}</code>")
    if panel == "answer":
        return f'<span class="ps-answer-value">{data.get("correct_answers", {}).get(name, "")}</span>'
    return (
        f'<input class="ps-counter" type="number" name="{ps.escape(name)}" min="0" '
        f'max="{int(ps.number(element, "up-to", 9))}" value="{ps.escape(ps.raw_answer(data, name))}">'
    )


def parse(element_html, element_index, data):
    name = ps.text(ps.parse(element_html), "answers-name")
    text = ps.given(data, name)
    if not text.isdecimal():
        return ps.refuse(data, name, "Count: the answer is a whole number.")
    data["submitted_answers"][name] = int(text)


def grade(element_html, element_index, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    right = ps.submitted(data, name) == data["correct_answers"].get(name)
    ps.score(data, name, 1 if right else 0, ps.number(element, "weight", 1))


def test(element_html, element_index, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"][name]
    answers = {"correct": str(wanted), "incorrect": str(wanted + 1), "invalid": "many"}
    ps.expect(data, name, ps.number(element, "weight", 1), answers)
