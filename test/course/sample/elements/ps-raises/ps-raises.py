"""<ps-raises phase="render">: raises in the named phase and does nothing in every other."""

import ps_element as ps


def _in(phase, element_html):
    if ps.text(ps.parse(element_html), "phase") == phase:
        raise RuntimeError(f"ps-raises: broken on purpose in {phase}")


def prepare(element_html, data):
    _in("prepare", element_html)


def render(element_html, data):
    _in("render", element_html)
    return "<p>Nothing was raised.</p>"


def parse(element_html, data):
    _in("parse", element_html)


def grade(element_html, data):
    _in("grade", element_html)


def test(element_html, data):
    _in("test", element_html)


def file(element_html, data):
    _in("file", element_html)
