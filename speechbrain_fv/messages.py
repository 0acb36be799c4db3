"""What others' errors say, fit for one line."""


def in_one_line(error):
    """Returns the text of an error, shortened, without line breaks and commands to a terminal.

    Example
    -------
    >>> in_one_line("a\\nb \\x1b[2J")
    'a b \\\\x1b[2J'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-95:]}"
