"""The look of warnings; its sign is a file beside this one."""

import pathlib

SIGN = (pathlib.Path(__file__).parent / "clientFilesExtension" / "sign.txt").read_text("utf-8").strip()


def decorate(title):
    return "ps-card-warning", f"{SIGN} {title}"
