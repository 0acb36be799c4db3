"""What papers report of the methods: other encoders, other clips, often other people and trials.

Values are in percent, digits as printed; each row says on what. They stand beside measured values
in columns of their own and are never compared with them by this package.
"""

from typing import NamedTuple

STRATA = ("U", "G", "N", "A", "GNA")
MATCHING_STRATA = ("U", "G", "N", "GN")

DIMNET_SPLIT = "VoxCeleb1 + VGGFace, 924/112/189 identities"
PINS_SPLIT = "VoxCeleb1 + VGGFace, 901/100/250 identities"
QUOTED = "as quoted by Bi-Pcm (2023), which says VoxCeleb1 + VGGFace, 924/112/189 identities"
SSOS_LISTS = DIMNET_SPLIT + ", the authors' own trial lists"

SUSPECT = {
    ("ssnet", "verification/N/auc"): "positional",
    ("ssnet", "verification/GNA/auc"): "positional",
}
"""(method, path) -> footnote: figures that cannot be trusted."""

FOOTNOTES = {
    "positional": (
        "not to be trusted: at chance beside an A of 73.5, as it comes out when the labels of the "
        "published trial lists are assumed to alternate, which those of N and GNA do not"
    )
}


class Published(NamedTuple):
    """What a paper reports.

    Attributes
    ----------
    values : dict of str to str
        Path of the report -> percent, as printed.
    source : str
        Corpus and protocol.
    """

    values: dict
    source: str


def _verification(values):
    pairs = zip(STRATA, values.split(), strict=True)
    return {f"verification/{stratum}/auc": value for stratum, value in pairs}


def _matching(direction, values):
    pairs = zip(MATCHING_STRATA, values.split(), strict=False)  # the first two, or one
    return {f"matching/{direction}/{stratum}/2/accuracy": value for stratum, value in pairs}


def _retrieval(faces, voices=None, chance=None):
    values = {"F-V/map": faces, "V-F/map": voices, "F-V/chance_map": chance}
    return {f"retrieval/{path}": value for path, value in values.items() if value is not None}


PUBLISHED = {
    "bipcm_fst": Published(
        _verification("85.0 71.2 84.3 79.6 64.7")
        | _retrieval("6.04", "6.36", "1.01")
        | _matching("F-V", "85.83 73.01 85.00 71.45")
        | _matching("V-F", "85.69 73.33 84.26 71.10"),
        "Zhu et al. (2023): " + DIMNET_SPLIT,
    ),
    "svhf_vf": Published(_matching("V-F", "81.0 63.9"), QUOTED),
    "svhf_fv": Published(_matching("F-V", "79.5 63.4"), QUOTED),
    "pins": Published(
        _verification("78.5 61.1 77.2 74.9 58.8") | _matching("F-V", "83.8"),
        "Nagrani et al. (2018): " + PINS_SPLIT,
    ),
    "fv_cme": Published(
        _matching("F-V", "77.8 60.8")
        | _matching("V-F", "78.1 61.7")
        | _retrieval("2.18", "1.96", "0.46"),
        "Horiguchi et al. (2018): FVCeleb, another gallery",
    ),
    "lafv_fv": Published(_matching("F-V", "78.6 61.6"), QUOTED),
    "lafv_vf": Published(_matching("V-F", "78.2 62.9"), QUOTED),
    "dimnet_i": Published(
        _verification("82.5 71.0 81.9 77.7 62.8")
        | _retrieval("4.17", "4.25", "1.07")
        | _matching("F-V", "83.52 71.78 82.41 70.90")
        | _matching("V-F", "83.45 70.91 81.87 69.89"),
        "Wen et al. (2019): " + DIMNET_SPLIT,
    ),
    "dimnet_ig": Published(
        _verification("83.2 71.2 81.9 78.0 62.8")
        | _retrieval("4.23", "4.42", "1.07")
        | _matching("F-V", "84.03 71.65 82.96 70.78")
        | _matching("V-F", "84.12 71.32 82.65 70.39"),
        "Wen et al. (2019): " + DIMNET_SPLIT,
    ),
    "ssnet": Published(
        _verification("78.8 62.4 53.1 73.5 51.4"), "Nawaz et al. (2019): " + PINS_SPLIT
    ),
    "ldje": Published(
        _matching("F-V", "85.42 73.52 84.48 71.11") | _matching("V-F", "85.18 74.29 83.97 70.70"),
        "Wang et al. (2020), " + QUOTED,
    ),
    "vfmr3": Published(_retrieval("5.00", None, "2.15"), "Xiong et al. (2019): another gallery"),
    "ssos": Published(
        {"verification/U/auc": "87.2", "verification/G/auc": "77.5"}
        | _matching("F-V", "86.5 75.3")
        | _matching("V-F", "87.2 77.7")
        | _retrieval("5.8", "5.5"),
        "Wen et al. (2021): " + SSOS_LISTS + "; AUC with voices as probes",
    ),
    "fop": Published(
        {"verification/U/auc": "83.5"}, "Saeed et al. (2022): VoxCeleb1, unseen-unheard trials"
    ),
}
"""Name of a method -> what its paper reports."""
