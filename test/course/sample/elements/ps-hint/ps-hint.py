"""<ps-hint title="…">: a hint for the question panel. Its HTML contains other elements, which are rendered in turn."""

import ps_element as ps


def render(element_html, data):
    element = ps.parse(element_html)
    title = ps.escape(ps.text(element, "title", "A hint"))
    return f'<ps-question-panel><ps-card title="{title}" look="note">{ps.inner(element)}</ps-card></ps-question-panel>'
