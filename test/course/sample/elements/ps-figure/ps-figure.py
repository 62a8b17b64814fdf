"""<ps-figure file-name="f.png" directory="clientFilesQuestion" alt="…">: a picture of the course or the question,
or with type="dynamic" one that the question's file() draws."""

import ps_element as ps

URLS = {
    "clientFilesCourse": "client_files_course_url",
    "clientFilesQuestion": "client_files_question_url",
}


def prepare(element_html, data):
    element = ps.parse(element_html)
    ps.text(element, "file-name")
    _option(element)


def render(element_html, data):
    element = ps.parse(element_html)
    name = ps.text(element, "file-name")
    base = data.get("options", {}).get(_option(element), "")
    source = f"{base}/{name}" if base else name
    if name.endswith((".wav", ".ogg", ".mp3")):
        return f'<audio class="ps-figure" controls src="{ps.escape(source)}"></audio>'
    alt, width = ps.escape(ps.text(element, "alt", "")), ps.escape(ps.text(element, "width", "360"))
    return f'<img class="ps-figure img-fluid" src="{ps.escape(source)}" alt="{alt}" width="{width}">'


def _option(element):
    if ps.text(element, "type", "static") == "dynamic":
        return "client_files_question_dynamic_url"
    directory = ps.text(element, "directory", "clientFilesQuestion")
    if directory not in URLS:
        raise ValueError(f'<ps-figure>: directory "{directory}" is none of {", ".join(URLS)}')
    return URLS[directory]
