"""<ps-question-panel>: what is inside is shown in the question panel only."""

import ps_element as ps


def render(element_html, data):
    if data.get("panel", "question") != "question":
        return ""
    return ps.inner(ps.parse(element_html))
