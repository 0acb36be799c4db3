"""A model in five lines."""

_INPUTS = {
    "image": "images of faces",
    "speech": "recordings of voices",
    "vector": "precomputed vectors",
}


def description(model):
    """Returns what a model is, takes, returns, decides and was trained on: a line each.

    Arguments
    ---------
    model : PublishedModel
    """
    config = model.config
    caution = config.get("caution")
    first = f"{type(model).__name__} {config['name']}"
    face, voice = (config[f"{modality}_input"] for modality in ("face", "voice"))
    frozen = "frozen" if model.is_frozen else "to be trained"
    return "\n".join(
        [
            f"{first}. {caution}" if caution else first,
            f"  takes {_INPUTS[face]}{_size(model, face)} and {_INPUTS[voice]}"
            f"{_size(model, voice)}",
            f"  returns {model.embedding_dim} numbers of each, compared by {model.score.name}",
            f"  decides: {_decision(model)}",
            f"  version {model.version[:12]}, {frozen}, on {model.device}{_training(config)}",
        ]
    )


def _size(model, kind):
    if kind == "image":
        size = model.readers["face_reader"].image_size
        return f" ({size} x {size} pixels)"
    if kind == "speech":
        reader = model.readers["voice_reader"]
        return f" ({reader.num_samples / reader.sample_rate:g} s at {reader.sample_rate} Hz)"
    return ""


def _decision(model):
    if model.threshold is None:
        return "nothing of a single pair, it ranks candidates"
    rates = (model.config["error_rates"] or {}).get("U") or {}
    wrong = [
        f"{words} {100 * rates[name]:.0f} %"
        for name, words in (
            ("false_accept", "falsely accepts"),
            ("false_reject", "falsely rejects"),
        )
        if rates.get(name) is not None
    ]
    told = f" ({', '.join(wrong)} of test pairs)" if wrong else ""
    return f"one person from a score of {model.threshold:.3f} on{told}"


def _training(config):
    data = config.get("training_data")
    corpus = data.get("corpus") if isinstance(data, dict) else None
    return f", trained on {corpus}" if isinstance(corpus, str) and corpus.isprintable() else ""
