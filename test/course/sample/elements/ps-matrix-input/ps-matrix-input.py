"""<ps-matrix-input answers-name="A" rtol="0.01" label="A =">: a matrix such as [[1, 2], [3, 4]] or 1 2; 3 4."""

import json

import numpy as np
import ps_element as ps


def prepare(element_html, data):
    name = ps.text(ps.parse(element_html), "answers-name")
    ps.claim(data, name)
    wanted = data["correct_answers"].get(name)
    if wanted is not None and np.array(wanted, dtype=float).ndim != 2:
        raise ValueError("<ps-matrix-input>: the correct answer is not a matrix")


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    panel = data.get("panel", "question")
    if panel == "question":
        return ps.field(data, name, ps.escape(ps.text(element, "label", "")), "", 40)
    if panel == "submission":
        return ps.submission(data, name, _table(ps.submitted(data, name) or []))
    wanted = data.get("correct_answers", {}).get(name)
    return "" if wanted is None else _table(wanted)


def parse(element_html, data):
    name = ps.text(ps.parse(element_html), "answers-name")
    try:
        data["submitted_answers"][name] = _read(ps.given(data, name))
    except ValueError as error:
        ps.refuse(data, name, str(error))


def grade(element_html, data):
    """Each right entry earns its share; a wrong shape earns nothing."""
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted, value = data["correct_answers"].get(name), ps.submitted(data, name)
    if wanted is None or value is None:
        return
    wanted, value = np.array(wanted, dtype=float), np.array(value, dtype=float)
    weight = ps.number(element, "weight", 1)
    if wanted.shape != value.shape:
        shape = " x ".join(str(n) for n in wanted.shape)
        return ps.score(data, name, 0, weight, f"The answer has {shape} entries.")
    right = np.isclose(value, wanted, rtol=ps.number(element, "rtol", 1e-2), atol=ps.number(element, "atol", 1e-8))
    ps.score(data, name, float(right.mean()), weight)


def test(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "answers-name")
    wanted = data["correct_answers"].get(name)
    if wanted is None:
        return
    wrong = (np.array(wanted, dtype=float) + 100).tolist()
    answers = {"correct": json.dumps(wanted), "incorrect": json.dumps(wrong), "invalid": "[[1, 2], [3]]"}
    ps.expect(data, name, ps.number(element, "weight", 1), answers)


def _read(text):
    text = text.strip()
    if not text:
        raise ValueError("There is no answer.")
    if text.startswith("[["):
        rows = [row.replace("[", "").strip(" ,") for row in text.strip("[]").split("]")]
    else:
        rows = text.strip("[]").split(";")
    try:
        values = [[float(entry) for entry in row.replace(",", " ").split()] for row in rows]
    except ValueError:
        raise ValueError("An entry is not a number.") from None
    if len({len(row) for row in values}) != 1 or not values[0]:
        raise ValueError("The rows differ in length.")
    if not np.isfinite(values).all():
        raise ValueError("An entry is not a finite number.")
    return values


def _table(rows):
    body = "".join("<tr>" + "".join(f"<td>{entry:g}</td>" for entry in row) + "</tr>" for row in rows)
    return f'<table class="ps-matrix">{body}</table>'
