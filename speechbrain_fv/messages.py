"""Errors and other text, fit for one line."""


def in_one_line(error, most=300):
    """Returns the text of an error, shortened, without line breaks and commands to a terminal.

    Arguments
    ---------
    error : Exception or other object
    most : int or None
        Characters that are left as they are, at least 300; a longer text loses its middle. None:
        any number.

    Returns
    -------
    text : str
        Where the error has no text, the name of its type.

    Example
    -------
    >>> in_one_line("a\\nb \\x1b[2J")
    'a b \\\\x1b[2J'
    """
    text = " ".join(str(error).split()) or type(error).__name__
    text = "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )
    return text if most is None or len(text) <= most else f"{text[:200]} ... {text[-95:]}"
