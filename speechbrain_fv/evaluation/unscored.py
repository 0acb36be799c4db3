"""Trial lists without embeddings: the names of the clips tell who it is, and nothing is scored."""

from typing import Any

import numpy as np
import pandas as pd

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.protocols.clip_names import MODALITIES, OTHER_MODALITY
from speechbrain_fv.scores import Cosine


class Unscored(Cosine):
    """The score where there are no embeddings: it can do nothing, and says so."""

    def unable(
        self, task: str, direction: str | None = None, num_candidates: int | None = None
    ) -> str:
        """Returns why there is no value."""
        return "there are no embeddings, so the list is audited and not scored"


def embeddings_of_names(source: Any) -> Embeddings:
    """Returns stand-ins for the embeddings of all clips that lists name, each clip once.

    Arguments
    ---------
    source : PublishedLists or ListFile, or a sequence of them
        A mapping with the key ``trials`` stands for that, as in `resolve_lists`.

    Returns
    -------
    Embeddings
        Vectors of a single 1, with the identities in the names.

    Raises
    ------
    ValueError
        If the names tell no identity, a list does not state the modality of its probes, or its
        trials would have to be drawn.
    """
    sources = source if isinstance(source, (list, tuple)) else [source]
    clips = {modality: [] for modality in MODALITIES}
    for source in sources:
        source = source["trials"] if isinstance(source, dict) else source
        if not hasattr(source, "clip_names"):
            raise ValueError(
                "embeddings: null, but lists are to be drawn from their clips; give embeddings."
            )
        for trials in source.read():
            if trials.probe is None:
                raise ValueError(
                    f"{trials.source}: without embeddings nothing tells the modality of its "
                    "probes; state probe: face or voice."
                )
            clips[trials.probe].append(_named(trials, trials.probes, trials.probe))
            target = OTHER_MODALITY[trials.probe]
            clips[target].append(_named(trials, trials.targets, target))
    tables = {modality: pd.concat(parts) for modality, parts in clips.items()}
    tables = {m: table.drop_duplicates("key", ignore_index=True) for m, table in tables.items()}
    return Embeddings(
        *(np.ones((len(table), 1)) for table in tables.values()),
        *(table["identity"].tolist() for table in tables.values()),
        *(table["name"].tolist() for table in tables.values()),
    )


def _named(trials, names, modality):
    """Returns a table of the clips that a side of a list names: name, key, identity."""
    names = [name for name in pd.unique(names.ravel()).tolist() if name]
    identities = trials.clip_names.identities(names, modality)
    if identities is None:
        raise ValueError(
            f"{trials.source}: its names tell no identity; give embeddings, or meta_csv: "
            "vox1_meta.csv if they are VoxCeleb and VGGFace paths."
        )
    keys = trials.clip_names.keys(names, modality)
    table = pd.DataFrame({"name": names, "key": keys, "identity": identities})
    return table[table["key"].notna()]
