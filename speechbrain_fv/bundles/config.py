"""The facts about a published model in its config.json, checked."""

import json

from speechbrain_fv.bundles.layout import FILES, MAX_TEXT_BYTES
from speechbrain_fv.evaluation.calibration import Calibration
from speechbrain_fv.messages import in_one_line

MAX_LOG_ODDS = 10**6
"""Largest slope and intercept of a calibration; probabilities are 0 or 1 far below."""

MAX_SCORE = 10**9
"""Of a threshold; cosines end at 1."""

FORMAT = 1

CAUTIONS = {
    "embedded": (
        "This model was trained on invented people alone: it knows nothing of real people, and "
        "what it says about a real face or voice means nothing."
    )
}
"""What whoever uses a model is told before anything else, by the corpus of its training."""


def read_config(path):
    """Returns the content of a config.json, checked.

    Returns
    -------
    config : dict
        ``format``, ``name`` (str), ``caution`` (what its user is told before anything else; absent
        where there is nothing of the kind), ``embedding_dim`` (K), ``face_input`` ("image" or
        "vector"),
        ``voice_input`` ("speech" or "vector"), ``sample_rate`` in Hz, ``remove_silence`` (bool),
        what the training's files had at least (``min_face_pixels``, ``min_seconds``,
        ``min_level_db``; absent in older bundles), ``face_crop`` (how the training cropped the
        faces of photos: ``margin``, ``min_pixels``, ``max_pixels``, ``several``, ``level``; None,
        or absent in older bundles, where its images were crops), ``calibration`` (``slope``,
        ``intercept``, ``threshold``), ``error_rates`` (by stratum), ``training_data`` and what
        else the export noted. ``score``, its name, is there unless it is the cosine; of a score
        that gives a pair none, ``calibration`` and ``error_rates`` are None.

    Raises
    ------
    ValueError
        If it is no JSON, of another format, or a value is missing or out of range.
    """
    text = read_text(path)
    try:
        config = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: not a readable JSON ({error})") from error
    for name, (valid, expected) in _EXPECTED.items():
        value = config.get(name) if isinstance(config, dict) else None
        if not valid(value):
            got = f"a {type(value).__name__}" if isinstance(value, dict | list) else repr(value)
            raise ValueError(f"{path}: {name}: expected {expected}, got {in_one_line(got)}")
    if config.get("score") is None:
        config.pop("score", None)
    calibration = config["calibration"]
    if calibration is not None:
        config["calibration"] = {key: float(calibration[key]) for key in Calibration._fields}
        if "score" not in config and not -1 <= calibration["threshold"] <= 1:
            raise ValueError(
                f"{path}: calibration: expected a threshold from -1 to 1 of cosines, got "
                f"{calibration['threshold']}"
            )
    if "score" not in config and None in (calibration, config["error_rates"]):
        raise ValueError(f"{path}: calibration: expected that of the cosine, got None")
    return _cautious(config)


def _cautious(config):
    """Returns a configuration with the caution of its corpus, which older bundles do not state."""
    data = config.get("training_data")
    corpus = data.get("corpus") if isinstance(data, dict) else None
    caution = CAUTIONS.get(corpus) if isinstance(corpus, str) else None
    if caution is None or "caution" in config:
        return config
    return {"format": config["format"], "name": config["name"], "caution": caution} | config


def _refuse_constant(name):
    raise ValueError(f"{name} is no number of JSON")


def _is_number(value, least, most):
    return type(value) in (int, float) and least <= value <= most


def _is_calibration(value):
    return (
        isinstance(value, dict)
        and _is_number(value.get("slope"), 0, MAX_LOG_ODDS)
        and _is_number(value.get("intercept"), -MAX_LOG_ODDS, MAX_LOG_ODDS)
        and _is_number(value.get("threshold"), -MAX_SCORE, MAX_SCORE)
    )


def _are_error_rates(value):
    return isinstance(value, dict) and all(
        rates is None or _are_rates(rates) for rates in value.values()
    )


def _are_rates(value):
    return isinstance(value, dict) and all(
        _is_rate(value.get(name)) and _is_interval(value.get(f"{name}_interval"))
        for name in ("false_accept", "false_reject")
    )


def _is_rate(value):
    return value is None or _is_number(value, 0, 1)


def _is_interval(value):
    return value is None or (
        isinstance(value, list) and len(value) == 2 and all(map(_is_rate, value))
    )


def _is_count(value):
    return type(value) is int and 0 < value <= 10**6


def _is_crop(value):
    return (
        isinstance(value, dict)
        and value.keys() == {"margin", "min_pixels", "max_pixels", "several", "level"}
        and _is_number(value["margin"], 1, 10)
        and _is_count(value["min_pixels"])
        and _is_count(value["max_pixels"])
        and value["min_pixels"] <= value["max_pixels"]
        and value["several"] in ("largest", "refuse")
        and isinstance(value["level"], bool)
    )


def _is_line(value):
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 300


def _is_name(value):
    return isinstance(value, str) and value.isprintable() and 0 < len(value) <= 200


_EXPECTED = {
    "format": (lambda value: value == FORMAT, f"{FORMAT}; update speechbrain_fv to read others"),
    "name": (_is_name, "a text of one line, at most 200 characters"),
    "caution": (
        lambda value: value is None or _is_line(value),
        "a text of one line, at most 300 characters, or none",
    ),
    "embedding_dim": (_is_count, "a number of dimensions"),
    "face_input": (lambda value: value in ("image", "vector"), "'image' or 'vector'"),
    "voice_input": (lambda value: value in ("speech", "vector"), "'speech' or 'vector'"),
    "sample_rate": (lambda value: value is None or _is_count(value), "a rate in Hz, or null"),
    "remove_silence": (lambda value: isinstance(value, bool), "true or false"),
    "min_face_pixels": (lambda value: value is None or _is_count(value), "pixels, or null"),
    "face_crop": (
        lambda value: value is None or _is_crop(value),
        "margin, min_pixels, max_pixels, several and level of a crop, or null",
    ),
    "min_seconds": (lambda value: value is None or _is_number(value, 0, 3600), "seconds, or null"),
    "min_level_db": (lambda value: value is None or _is_number(value, -1000, 0), "dB, or null"),
    "calibration": (
        lambda value: value is None or _is_calibration(value),
        "a finite slope, intercept and threshold",
    ),
    "error_rates": (
        lambda value: value is None or _are_error_rates(value),
        "error rates by stratum",
    ),
    "score": (lambda value: value is None or _is_name(value), "the name of the score, or none"),
}


def read_text(path):
    """Returns a bundle's text file; ValueError if it is absent, empty, too long or no UTF-8."""
    try:
        size = path.stat().st_size
        if not 0 < size <= MAX_TEXT_BYTES:  # 0 is also what /proc says of files without an end
            raise ValueError(f"{path}: expected 1 to {MAX_TEXT_BYTES} bytes, got {size}")
        return path.read_text(encoding="utf-8-sig")  # some editors write a byte order mark
    except FileNotFoundError:
        raise ValueError(
            f"{path}: not found; a bundle has the files {', '.join(FILES)}, and recipes/publish.py "
            "makes one"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: cannot be read ({error})") from error
