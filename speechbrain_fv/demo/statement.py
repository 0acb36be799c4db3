"""What the page tells of the model: its error rates, training data and intended use."""

from speechbrain_fv.figures.plots.style import CONSTRAINTS
from speechbrain_fv.publish.card_settings import CORPORA

SHOWN_STRATA = ("U", "G")
INTENDED_USE = (
    "For research and teaching: how faces and voices are associated, and how such models err.",
    "A rank is no identification: somebody always comes first, even when the right person is not "
    "among the candidates. Do not use this page to identify or recognise anyone, for surveillance, "
    "or to decide about anyone.",
    "A face and a voice are biometric data: compare those of people who agreed to it.",
)


def error_statements(config):
    """Returns sentences about the error rates at the threshold, on the test split.

    Arguments
    ---------
    config : dict
        Of a bundle; its ``error_rates`` may lack anything, and what is lacking is said.

    Returns
    -------
    list of str

    Example
    -------
    >>> rates = {"false_accept": 0.241, "false_accept_interval": [0.216, 0.272]}
    >>> rates |= {"false_reject": 0.2, "false_reject_interval": None}
    >>> for sentence in error_statements({"error_rates": {"U": rates}}):
    ...     print(sentence)
    Of 100 pairs of a face and a voice of two different people, it takes 24 for one person (95 % \
interval 22 to 27).
    How often it errs between people of the same gender is not known.
    Of 100 pairs of one person, it misses 20.
    """
    rates = config.get("error_rates", {})
    sentences = []
    for stratum in SHOWN_STRATA:
        accepted = _of_hundred(rates.get(stratum), "false_accept")
        if stratum == "U":
            pairs = "Of 100 pairs of a face and a voice of two different people, it"
            unknown = "How often it takes two people for one is not known."
        else:
            pairs = f"When both have the {CONSTRAINTS[stratum]}, it"
            unknown = (
                f"How often it errs between people of the {CONSTRAINTS[stratum]} is not known."
            )
        number, interval = accepted or (None, "")
        sentences.append(f"{pairs} takes {number} for one person{interval}." if number else unknown)
    number, interval = _of_hundred(rates.get("U"), "false_reject") or (None, "")
    sentences.append(
        f"Of 100 pairs of one person, it misses {number}{interval}."
        if number
        else "How often it misses a pair of one person is not known."
    )
    return sentences


def training_statement(config):
    """Returns sentences about the data that the model was trained and tested on.

    Example
    -------
    >>> splits = {"train": {"num_identities": 350}, "test": {"num_identities": 100}}
    >>> training_statement({"training_data": {"corpus": "mine", "splits": splits}})
    ['Trained on 350 people, tested on 100 others.', 'The data: mine.']
    """
    data = config.get("training_data")
    data = data if isinstance(data, dict) else {}
    corpus, splits = data.get("corpus"), data.get("splits")
    numbers = {
        split: counts["num_identities"]
        for split, counts in (splits.items() if isinstance(splits, dict) else ())
        if isinstance(counts, dict) and isinstance(counts.get("num_identities"), int)
    }
    if not isinstance(corpus, str):
        return ["What it was trained on is not known."]
    text = CORPORA[corpus][1] if corpus in CORPORA else f"The data: {corpus}."
    trained = f"{numbers['train']:,} people" if "train" in numbers else "people nobody counted"
    tested = f", tested on {numbers['test']:,} others" if "test" in numbers else ""
    return [f"Trained on {trained}{tested}.", text]


def _of_hundred(rates, name):
    """Returns a share as a number of 100 and its interval as text; None where undefined."""
    share = rates.get(name) if isinstance(rates, dict) else None
    if not isinstance(share, int | float) or not 0 <= share <= 1:
        return None
    ends = rates.get(f"{name}_interval")
    interval = ""
    if isinstance(ends, list | tuple) and len(ends) == 2 and None not in ends:
        low, high = (_count(end) for end in ends)
        interval = f" (95 % interval {low} to {high})"
    return _count(share), interval


def _count(share):
    return f"{100 * share:.0f}"
