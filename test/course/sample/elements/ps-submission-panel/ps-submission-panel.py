"""<ps-submission-panel>: what is inside is shown in the submission panel only."""

import ps_element as ps


def render(element_html, data):
    if data.get("panel", "question") != "submission":
        return ""
    return ps.inner(ps.parse(element_html))
