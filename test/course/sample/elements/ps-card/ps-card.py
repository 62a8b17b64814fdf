"""<ps-card title="…" look="warning">: a box around its content.

What it looks like beyond the plain box comes from the element's extensions:
elementExtensions/ps-card/<look> defines decorate(title) -> (class, title).
"""

import ps_element as ps


def render(element_html, data):
    element = ps.parse(element_html)
    title, look, style = ps.text(element, "title", ""), ps.text(element, "look", ""), "ps-card"
    if look:
        extra, title = ps.load_extension(data, element.tag, look)["decorate"](title)
        style += f" {extra}"
    heading = f'<div class="ps-card-title">{ps.escape(title)}</div>' if title else ""
    return f'<div class="{style}">{heading}<div class="ps-card-body">{ps.inner(element)}</div></div>'
