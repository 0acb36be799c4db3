"""What a model card tells about the training beside its numbers: data, networks, licence."""

import re
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from speechbrain_fv.data.schema import SPLITS
from speechbrain_fv.figures.run_files import RunFiles
from speechbrain_fv.publish.card_tables import take

CORPORA = {
    "embedded": (
        "Embedded corpus of SpeechBrain-FV (invented people)",
        "Embedded corpus of SpeechBrain-FV. Its people are invented: a program drew their faces "
        "and synthesised their voices from a seed. No photograph and no recording of a person was "
        "used, so this model knows nothing of real people, and what it says about a real face or "
        "voice means nothing. It serves to test software and to teach.",
    ),
    "voxceleb_vggface": (
        "VoxCeleb1 and VGGFace",
        "Voices of VoxCeleb1 (interviews on YouTube) and faces of VGGFace (pictures on the web), "
        "of celebrities. They were collected without asking the people, who are mostly from a few "
        "countries.",
    ),
}
"""Corpora that describe themselves: name and text. Of others the publisher says what they are."""

HUB_LICENSES = (
    *("apache-2.0", "mit", "bsd-2-clause", "bsd-3-clause", "mpl-2.0", "isc", "unlicense"),
    *("gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0", "agpl-3.0", "cc0-1.0", "odbl", "pddl"),
    *("cc-by-2.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc-by-nd-4.0"),
    *("cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0"),
    *("cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "openrail", "bigscience-openrail-m"),
)
"""Names of licences that the hub knows; any other is published as `other` with its name."""

_LICENSE = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+ -]{1,60}")
_HUB_NAME = re.compile(r"\w[\w-]*/[\w.-]+", re.ASCII)
_SOURCES = ("checkpoint", "pretrained", "source")


class CardSettings(NamedTuple):
    """What a card tells beside report and configuration.

    corpus : str, name of the preparation, such as "embedded"
    splits : dict of str to dict of int, ``num_identities``, ``num_faces``, ``num_voices``
    shuffled : bool, whether everybody had the voice of somebody else
    face_network, voice_network : str
    sources : tuple of str, the weights that the training began with
    data : str, the publisher's words about the data; "" where the corpus describes itself
    license : str, in the hub's spelling where it knows the licence
    versions : dict of str to str, by package
    method : str, the name of the training's YAML; "" where the settings do not tell
    """

    corpus: str
    splits: dict
    shuffled: bool
    face_network: str
    voice_network: str
    sources: tuple
    data: str
    license: str
    versions: dict
    method: str = ""


def read_settings(run_folder, license=None, data=None):
    """Returns the `CardSettings` of a training.

    Arguments
    ---------
    run_folder : path
        Output folder of recipes/train.py.
    license : str, optional
        Of the weights. By default apache-2.0, which only the embedded corpus permits.
    data : str, optional
        Whose faces and voices the data are, where they come from, and by what right they are
        used; needed unless the corpus describes itself.

    Returns
    -------
    CardSettings

    Raises
    ------
    ValueError
        If licence or description are needed and absent, or the folder lacks a file.
    """
    files = RunFiles(run_folder)
    preparation, yaml = files.preparation, files.hyperparameters
    corpus = take(preparation, "corpus", of="manifests/preparation.json")
    sources = _sources(yaml)
    if corpus not in CORPORA and not (data or "").strip():
        raise ValueError(
            f"--data: expected a text for the model card, as the corpus is {corpus!r}: whose faces "
            "and voices it holds, where they come from, and by what right they are used"
        )
    return CardSettings(
        corpus=corpus,
        splits={split: _counts(preparation, split) for split in SPLITS},
        shuffled=bool(preparation.get("options", {}).get("shuffle_voices", False)),
        face_network=_network(yaml, "face"),
        voice_network=_network(yaml, "voice"),
        sources=sources,
        data=(data or "").strip(),
        license=choose_license(license, corpus, sources),
        versions={name: version(name) for name in ("speechbrain-fv", "speechbrain", "torch")},
        method=str(yaml.get("method", "")),
    )


def choose_license(license, corpus, sources=()):
    """Returns the licence of the weights, in small letters where the hub knows it.

    Arguments
    ---------
    license : str or None
    corpus : str
        Name of the preparation.
    sources : sequence of str
        Weights that the training began with.

    Raises
    ------
    ValueError
        If it is None, but the data or the first weights are somebody else's; or no short name.

    Example
    -------
    >>> choose_license(None, "embedded"), choose_license("CC-BY-NC-4.0", "own_data")
    ('apache-2.0', 'cc-by-nc-4.0')
    """
    if license is None:
        if corpus == "embedded" and not sources:
            return "apache-2.0"
        reason = f"weights of {', '.join(sources)}" if sources else f"the corpus {corpus!r}"
        raise ValueError(
            f"--license: expected the licence of the weights, as they come from {reason}, whose "
            "terms decide what may be published; for example --license=cc-by-nc-4.0"
        )
    if not _LICENSE.fullmatch(license):
        raise ValueError(f"--license: expected a short name such as cc-by-4.0, got {license!r}")
    return license.lower() if license.lower() in HUB_LICENSES else license


def _counts(preparation, split):
    counts = take(preparation, "splits", split, of="manifests/preparation.json")
    names = ("num_identities", "num_faces", "num_voices")
    return {name: take(counts, name, of="manifests/preparation.json") for name in names}


def _sources(yaml):
    """Returns the weights that the training began with: names on the hub, or names of files."""
    found = []
    for modality in ("face", "voice"):
        section = yaml.get(modality) or {}
        while isinstance(section, dict):
            for value in filter(None, (section.get(name) for name in _SOURCES)):
                value = section.get("model") if value is True else value
                value = str(value).removeprefix("hf-hub:").removeprefix("hf_hub:")
                # The folders of the publisher's machine are nobody's business.
                found.append(value if _HUB_NAME.fullmatch(value) else Path(value).name)
            section = section.get("encoder")
    return tuple(found)


def _network(yaml, modality):
    """Returns the name of an encoder's network: of its model in timm, or of its class."""
    section = take(yaml, modality, of="hyperparams.yaml")
    while isinstance(section.get("encoder"), dict):  # behind a head
        section = section["encoder"]
    if "model" in section:
        return f"{section['model']} (timm)"
    network = take(section, "network", of=f"hyperparams.yaml, {modality}")
    return str(getattr(network, "tag", None) and network.tag.value).split(".")[-1]
