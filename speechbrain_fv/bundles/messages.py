"""What others' errors say, fit for one line."""


def in_one_line(error):
    """Returns the text of an error, shortened, without line breaks."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else f"{text[:200]} ... {text[-95:]}"
