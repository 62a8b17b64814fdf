"""What the elements of this course share.

Controllers receive their own HTML as bytes and PrairieLearn's data object.
Everything here tolerates a data object with only the keys that the caller had.
"""

import html
import json
import pathlib

import lxml.html


def parse(element_html):
    """The element of bytes (or, from older callers, str) as a tree."""
    if isinstance(element_html, bytes):
        element_html = element_html.decode("utf-8")
    return lxml.html.fragment_fromstring(element_html)


def text(element, name, default=None):
    """A string attribute; without a default it is required."""
    value = element.get(name, default)
    if value is None:
        raise ValueError(f'<{element.tag}>: attribute "{name}" is required')
    return value


def number(element, name, default=None):
    value = text(element, name, None if default is None else str(default))
    try:
        return float(value)
    except ValueError:
        raise ValueError(f'<{element.tag}>: attribute "{name}" is not a number: {value}') from None


def flag(element, name, default=False):
    value = text(element, name, str(default)).strip().lower()
    if value not in ("true", "false"):
        raise ValueError(f'<{element.tag}>: attribute "{name}" is neither true nor false: {value}')
    return value == "true"


def inner(element):
    """The HTML between the element's tags."""
    head = html.escape(element.text or "", quote=False)
    return head + "".join(lxml.html.tostring(child, encoding="unicode") for child in element)


def escape(value):
    return html.escape(str(value))


def submitted(data, name):
    return data.get("submitted_answers", {}).get(name)


def given(data, name):
    """What there is to parse, as text; an answer of 0 is an answer."""
    value = submitted(data, name)
    return "" if value is None else str(value).strip()


def claim(data, name):
    """In prepare: two inputs of one name would overwrite each other."""
    names = data.setdefault("answers_names", {})
    if name in names:
        raise ValueError(f'two inputs have answers-name="{name}"')
    names[name] = True


def refuse(data, name, why):
    """A format error: the student can correct it, and nothing is graded."""
    data.setdefault("format_errors", {})[name] = why
    data.setdefault("submitted_answers", {})[name] = None


def raw_answer(data, name):
    """The text that the student sent; submitted_answers until parse replaces it."""
    raw = data.get("raw_submitted_answers", {})
    value = raw.get(name, submitted(data, name))
    return "" if value is None else str(value)


def score(data, name, value, weight, feedback=None):
    entry = {"score": value, "weight": int(weight) if weight == int(weight) else weight}
    if feedback:
        entry["feedback"] = feedback
    data.setdefault("partial_scores", {})[name] = entry


def expect(data, name, weight, answers):
    """The element's own test: what to send for data["test_type"], and what must come of it.

    answers maps correct, incorrect and invalid to the raw text to send.
    """
    kind = data["test_type"]
    data["raw_submitted_answers"][name] = answers[kind]
    if kind == "invalid":
        data["format_errors"][name] = ""
    else:
        score(data, name, 1 if kind == "correct" else 0, weight)


def badge(data, name):
    """How the answer was judged, for the submission panel."""
    entry = data.get("partial_scores", {}).get(name)
    if not entry or entry.get("score") is None:
        return ""
    points = round(100 * entry["score"])
    colour = "success" if points >= 100 else "warning" if points > 0 else "danger"
    note = f' <span class="ps-feedback">{escape(entry["feedback"])}</span>' if entry.get("feedback") else ""
    return f' <span class="badge text-bg-{colour}">{points}%</span>{note}'


def submission(data, name, shown):
    """The submission panel of one answer: its text and grade, or its format error."""
    error = data.get("format_errors", {}).get(name)
    if error is not None:
        return (
            f'<div class="ps-invalid"><code>{escape(raw_answer(data, name))}</code> '
            f'<span class="badge text-bg-danger">invalid</span> <small>{escape(error)}</small></div>'
        )
    return f'<div class="ps-submitted">{shown}{badge(data, name)}</div>'


def field(data, name, label, suffix="", width=20):
    """The question panel of one answer: a labelled input."""
    state = "" if data.get("editable", True) else " disabled"
    before = f'<span class="input-group-text">{label}</span>' if label else ""
    after = f'<span class="input-group-text">{suffix}</span>' if suffix else ""
    return (
        f'<span class="ps-input input-group">{before}'
        f'<input class="form-control" type="text" name="{escape(name)}" value="{escape(raw_answer(data, name))}" '
        f'size="{width}" autocomplete="off" spellcheck="false"{state}>{after}</span>'
    )


def extensions(data, element_name):
    """The element's extensions: name -> {"directory", "controller"?}.

    A whole phase passes them in data; a single call of the element does not,
    and then they are read from beside the course's elements.
    """
    if "extensions" in data:
        return data["extensions"]
    root = data.get("options", {}).get("course_extensions_path")
    root = pathlib.Path(root) if root else pathlib.Path(__file__).parent.parent / "elementExtensions"
    found = {}
    for info in sorted((root / element_name).glob("*/info.json")):
        found[info.parent.name] = {**json.loads(info.read_text("utf-8")), "directory": str(info.parent)}
    return found


def load_extension(data, element_name, name):
    """The names that an extension's controller defines."""
    known = extensions(data, element_name)
    if name not in known:
        raise ValueError(f'<{element_name}>: there is no extension "{name}"')
    script = pathlib.Path(known[name]["directory"]) / known[name]["controller"]
    names = {"__file__": str(script)}
    exec(compile(script.read_text("utf-8"), str(script), "exec"), names)
    return names
