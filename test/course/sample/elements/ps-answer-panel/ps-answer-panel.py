"""<ps-answer-panel>: what is inside is shown in the answer panel only."""

import ps_element as ps


def render(element_html, data):
    if data.get("panel", "question") != "answer":
        return ""
    return ps.inner(ps.parse(element_html))
