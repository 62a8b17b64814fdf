import lxml.html


def render(element_html, data):
    return "<b>" + lxml.html.fragment_fromstring(element_html).text + "</b>"
