"""An exception with a cause, and text that must be escaped wherever a page shows it."""


def generate(data):
    try:
        int("<script>alert('broken/chained')</script>")
    except ValueError as error:
        raise RuntimeError("broken/chained: broken on purpose in generate") from error
