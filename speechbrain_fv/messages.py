"""What is shown while something runs: errors and other text in one line, and progress bars."""

import sys

from tqdm import tqdm

SECONDS_IN_FILES = 30

_shown = {"bars": True}


def show_progress(shown):
    """Says for this process whether progress bars are drawn, those of downloads among them."""
    _shown["bars"] = shown
    if not shown:
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()


class _BarInFile(tqdm):
    """A bar that a new postfix does not draw before its time, as tqdm's own would."""

    def set_postfix(self, ordered_dict=None, refresh=True, **kwargs):
        super().set_postfix(ordered_dict, refresh=False, **kwargs)


def progress_bar(*args, disable=False, **kwargs):
    """Returns tqdm's progress bar, which `show_progress` turns off.

    Arguments
    ---------
    *args, **kwargs
        tqdm's.
    disable : bool or None
        tqdm's; None draws it as in a terminal there, and in a file of long work alone: every
        `SECONDS_IN_FILES`.
    """
    bar = tqdm
    if disable is None and not sys.stderr.isatty():
        kwargs |= {"delay": SECONDS_IN_FILES, "mininterval": SECONDS_IN_FILES, "miniters": 1}
        bar = _BarInFile
    return bar(*args, disable=not _shown["bars"] or bool(disable), **kwargs)


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


def metric_label(path: str) -> str:
    """Returns a short name of the value at a path of a report.

    Example
    -------
    >>> metric_label("matching/F-V/U/2/accuracy"), metric_label("retrieval/F-V/map")
    ('1:2 F-V U', 'mAP F-V')
    """
    match path.split("/"):
        case ["verification", stratum, ("auc" | "eer") as name]:
            return f"{name.upper()} {stratum}"
        case ["matching", direction, stratum, candidates, "accuracy"]:
            return f"1:{candidates} {direction} {stratum}"
        case ["retrieval", direction, "map"]:
            return f"mAP {direction}"
        case ["losses", part, name]:
            return f"{name.replace('_', ' ')}, {part}"
    return path
