"""The look of hints."""


def decorate(title):
    return "ps-card-note", f"☞ {title}"
