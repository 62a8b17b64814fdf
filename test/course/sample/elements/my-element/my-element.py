"""<my-element attr="value">…</my-element>: the element of the RFC's example bodies."""

import ps_element as ps


def render(element_html, data):
    element = ps.parse(element_html)
    number = data.get("params", {}).get("number", "")
    attr = ps.escape(ps.text(element, "attr", ""))
    return f'<span class="my-element" data-attr="{attr}">{ps.inner(element)} The number is {ps.escape(number)}.</span>'


def grade(element_html, data):
    data.setdefault("partial_scores", {})["my-element"] = {"score": 1, "weight": 1}
