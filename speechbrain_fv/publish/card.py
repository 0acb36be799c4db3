"""The model card of a bundle: README.md with the hub's metadata, from report and configuration."""

import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData
from jinja2 import Environment, StrictUndefined

from speechbrain_fv.bundles.config import CAUTIONS
from speechbrain_fv.publish.card_settings import CORPORA, HUB_LICENSES
from speechbrain_fv.publish.card_tables import (
    cell,
    group_tables,
    others,
    result_tables,
    strata,
    take,
    unable,
)

TEMPLATE = Path(__file__).with_name("card.md")
_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?", re.ASCII)
_SPECIAL = re.compile(r"[^\w ,.;:%'\"()/?-]|_|:(?=/)|\.(?=[^\W\d])")


class _Verbatim(str):
    """Text that is Markdown already."""


def model_card(report, config, settings):
    """Returns the text of a bundle's README.md.

    Every text from outside is escaped, and nothing is left blank: a stratum that is undefined
    says why, and any other value that is missing is an error.

    Arguments
    ---------
    report : dict
        From report.json of a training: verification, matching, retrieval, bootstrap, training and,
        if people's attributes are known, groups.
    config : dict
        From config.json: name, version, inputs, score, calibration and error rates.
    settings : CardSettings

    Returns
    -------
    str
        Markdown behind YAML metadata.

    Raises
    ------
    ValueError
        If a value is missing, which it names.
    """
    environment = Environment(
        undefined=StrictUndefined, finalize=_escaped, trim_blocks=True, lstrip_blocks=True
    )
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    groups = group_tables(report)
    tables = [*result_tables(report, config), *groups]
    return template.render(
        front_matter=_Verbatim(_front_matter(report, config, settings)),
        settings=settings,
        caution=CAUTIONS.get(settings.corpus),
        strata=strata(report),
        unable=unable(report),
        tables=[_marked(table) for table in tables],
        has_groups=bool(groups),
        training={
            name: take(report, "training", name)
            for name in ("num_steps", "num_epochs", "best_epoch")
        },
        method=_method(settings.method),
        monitor=report["training"].get("monitor", "AUC"),
        num_replicates=take(report, "bootstrap", "num_replicates"),
        counts="{:,} people with {:,} faces and {:,} voices".format(
            *(take(report, f"num_{name}") for name in ("identities", "faces", "voices"))
        ),
        data_text=_data_text(settings),
        splits=[
            [name, *(f"{number:,}" for number in counts.values())]
            for name, counts in settings.splits.items()
        ],
        license_text=_license_text(settings),
        **_of_config(config),
    )


def _method(name):
    """Returns how a model was trained, by the name of its method; "" is Bi-Pcm of old."""
    if not name or name.startswith("bipcm"):
        return (
            "Bi-Pcm, bi-directional pseudo-labels with a shared cross-modal residual block (CMWR),"
        )
    return f"the method {name}"


def _of_config(config):
    """Returns what the template needs of config.json."""
    needed = ("name", "version", "embedding_dim", "face_input", "voice_input")
    values = {name: take(config, name, of="config.json") for name in needed}
    if not _NAME.fullmatch(values["name"]):
        raise ValueError(f"config.json: name: expected owner/name, got {values['name']!r}")
    face, voice = values["face_input"] == "image", values["voice_input"] == "speech"
    notes = []
    if face:
        size = take(config, "image_size", of="config.json")
        notes.append(f"Faces are images of {size} x {size} pixels, cropped as in training.")
        if config.get("face_crop") is not None:
            notes.append(
                "The face of a photo is found and cropped first, which needs the extra detect; for "
                "files that are crops already pass detect_faces=False."
            )
    if voice:
        rate, seconds = (
            take(config, name, of="config.json") for name in ("sample_rate", "clip_seconds")
        )
        silence = take(config, "remove_silence", of="config.json")
        notes.append(
            f"Voices are mono at {rate:,} Hz; training heard {seconds:g} s at a time"
            + (", without silence." if silence else ".")
        )
    return {
        **values,
        **_decisions(config),
        "score": config.get("score"),
        "source": _Verbatim(values["name"]),
        "face_input": "a picture of a face" if face else "a vector computed from a face",
        "voice_input": "a recording of a voice" if voice else "a vector computed from a voice",
        "takes_files": face and voice,
        "input_note": _Verbatim(" ".join(notes)),
    }


def _decisions(config):
    """Returns what the template needs of calibration and error rates, if the score has them."""
    calibration = take(config, "calibration", of="config.json")
    if calibration is None:
        return {"calibrated": False}
    slope, intercept, threshold = (
        take(calibration, name, of="config.json, calibration")
        for name in ("slope", "intercept", "threshold")
    )
    rates = take(config, "error_rates", of="config.json")
    everybody = take(rates, "U", of="config.json, error_rates")
    return {
        "calibrated": True,
        "slope": _Verbatim(f"{slope:.3f}"),
        "intercept": _Verbatim(f"{'-' if intercept < 0 else '+'} {abs(intercept):.3f}"),
        "threshold": _Verbatim(f"{threshold:.3f}"),
        **{
            name: _Verbatim(cell(everybody, name, "config.json, error_rates/U") + " %")
            for name in ("false_accept", "false_reject")
        },
        "strictest": _strictest(rates),
    }


def _strictest(rates):
    """Returns the last stratum that restricts who is compared, with its false accepts, or None."""
    defined = [name for name, node in rates.items() if node is not None and name != "U"]
    if not defined:
        return None
    name = defined[-1]
    accepted = cell(rates[name], "false_accept", f"config.json, error_rates/{name}")
    return {"others": others(name), "false_accept": _Verbatim(f"{accepted} %")}


def _data_text(settings):
    return " ".join(filter(None, [CORPORA.get(settings.corpus, ("", ""))[1], settings.data]))


def _license_text(settings):
    text = f"The weights: {settings.license}. The package speechbrain-fv: apache-2.0."
    if settings.corpus != "embedded":
        text += " The terms of the data hold beside it."
    return text


def _marked(table):
    """Returns a table whose cells of numbers are kept as they are, brackets and all."""
    rows = [[row[0], *(_Verbatim(text) for text in row[1:])] for row in table.rows]
    return table._replace(rows=rows, note=_Verbatim(table.note))


def _front_matter(report, config, settings):
    """Returns the hub's metadata as YAML."""
    known = settings.license in HUB_LICENSES
    name = take(config, "name", of="config.json")
    data = ModelCardData(
        license=settings.license if known else "other",
        license_name=None if known else settings.license.lower().replace(" ", "-"),
        library_name="speechbrain",
        pipeline_tag="feature-extraction",
        tags=["speechbrain", "face-voice-association", "face", "voice", "biometrics"],
        model_name=name.split("/")[-1],
        eval_results=_eval_results(report, settings),
    )
    return data.to_yaml()


def _eval_results(report, settings):
    """Returns verification, 1:2 matching and retrieval as the hub lists results."""
    corpus = _in_one_line(settings.corpus)
    dataset = CORPORA.get(corpus, (corpus.replace("_", " "),))[0]
    common = {"dataset_type": corpus, "dataset_name": dataset, "dataset_split": "test"}
    results = []

    def add(task, setting, metric, metric_name, value):
        if value is not None:
            results.append(
                EvalResult(
                    task_type=task,
                    dataset_config=setting,
                    metric_type=metric,
                    metric_name=metric_name,
                    metric_value=round(value, 4),
                    **common,
                )
            )

    for stratum, node in take(report, "verification").items():
        if node is not None:
            add("face-voice-verification", stratum, "roc_auc", "AUC", take(node, "auc"))
            add("face-voice-verification", stratum, "eer", "Equal error rate", take(node, "eer"))
    for direction in ("F-V", "V-F"):
        node = take(report, "matching", direction, "U") or {"2": None}
        if take(node, "2") is not None:
            accuracy = take(node, "2", "accuracy")
            add("face-voice-matching", direction, "accuracy", "1:2 accuracy", accuracy)
        if take(report, "retrieval", direction) is not None:
            precision = take(report, "retrieval", direction, "map")
            add("face-voice-retrieval", direction, "mean_average_precision", "mAP", precision)
    return results


def _escaped(value):
    """Returns text in which no character has a meaning in Markdown or HTML."""
    if isinstance(value, _Verbatim):
        return value
    return _SPECIAL.sub(lambda found: f"&#{ord(found[0])};", _in_one_line(value))


def _in_one_line(value):
    """Returns printable text without line breaks."""
    text = "".join(character if character.isprintable() else " " for character in str(value))
    return " ".join(text.split())
