"""Attributes of clips, such as language or device: strata that they restrict, and groups.

An attribute of a person restricts negatives in `exact`. One of a clip may restrict positives as
well: with `=language` only clips in one language are compared, whoever they are of.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch

from speechbrain_fv import metrics, protocols
from speechbrain_fv.corpora.own_data import one_spelling
from speechbrain_fv.data.schema import clip_columns, named
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.groups import MIN_IDENTITIES, group_entry, group_rows
from speechbrain_fv.evaluation.report import Report, number_or_none
from speechbrain_fv.evaluation.scoring import Comparison
from speechbrain_fv.metrics.clip_pairs import ClipStratum, count_clip_pairs
from speechbrain_fv.names import name_of
from speechbrain_fv.scores import Score

logger = logging.getLogger(__name__)

MODALITIES = ("face", "voice")
MOST_GROUPS = 30
"""With more values than this an attribute, such as a comment, makes no strata and no groups."""


@dataclass(frozen=True)
class ClipAttributes:
    """The attributes of the clips of a set of embeddings; "" is unknown.

    Arguments
    ---------
    face, voice : pandas.DataFrame of str
        A row per clip, in the order of the embeddings; the columns are attributes of the clips and
        of their people.
    names : tuple of str
        Which of them are the clips' own.
    people : tuple of str
        Which are of the people, beside gender, nationality and age, which have strata of their own.
    """

    face: pd.DataFrame
    voice: pd.DataFrame
    names: tuple
    people: tuple = ()

    def of_people(self):
        """Returns the attributes of people that make strata: with 2 to 30 values, one of several.

        An attribute that tells everybody apart, such as a name, restricts to nothing.
        """
        found = []
        for name in self.people:
            values = pd.concat([self.face[name], self.voice[name]])
            num_people = len({*self.face["identity"], *self.voice["identity"]})
            if 2 <= values[values != ""].nunique() <= min(MOST_GROUPS, num_people // 2):
                found.append(name)
        return found

    def shared(self):
        """Returns the clips' own attributes that make strata: of both, with 2 to 30 values."""
        found = []
        for name in self.names:
            if name not in self.face.columns or name not in self.voice.columns:
                continue
            known = [{*getattr(self, modality)[name]} - {""} for modality in MODALITIES]
            if known[0] & known[1] and 2 <= len(known[0] | known[1]) <= MOST_GROUPS:
                found.append(name)
        return found


def clip_attributes(
    embeddings: Embeddings, clips: pd.DataFrame | None, metadata: pd.DataFrame | None = None
) -> ClipAttributes:
    """Returns the `ClipAttributes` of embeddings, the values that mean the same spelled the same.

    Arguments
    ---------
    embeddings : Embeddings
        With `face_id` and `voice_id` if there are clips.
    clips : pandas.DataFrame or None
        Column ``clip``, optionally ``modality`` (face or voice; without it a row is of both), and
        attributes. A clip without a row has unknown attributes.
    metadata : pandas.DataFrame, optional
        Column ``identity`` and attributes of people.

    Raises
    ------
    ValueError
        If a column is missing, a clip has two rows, or no row is of a clip of the embeddings.

    Example
    -------
    >>> people = Embeddings(np.eye(2), np.eye(2), ["a", "b"], ["a", "b"], ["f", "g"], ["v", "w"])
    >>> table = pd.DataFrame({"clip": ["f", "v", "w"], "language": ["en", "en", "ur"]})
    >>> clip_attributes(people, table).face.language.tolist()
    ['en', '']
    """
    tables = {
        modality: pd.DataFrame(index=range(len(getattr(embeddings, modality))))
        for modality in MODALITIES
    }
    further = ()
    if metadata is not None:
        people = metadata.set_index(metadata.identity.map(name_of)).drop(columns="identity")
        people = people[~people.index.duplicated()].astype(object).fillna("").astype(str)
        for modality in MODALITIES:
            rows = people.reindex(getattr(embeddings, f"{modality}_identity"), fill_value="")
            tables[modality] = rows.rename_axis("identity").reset_index()
        others = {"identity", "split", *protocols.ATTRIBUTES.values()}
        further = tuple(name for name in people.columns if name not in others)
    names = ()
    if clips is not None:
        names = _add_clips(tables, embeddings, clips)
    further = tuple(name for name in further if name not in names)
    _spell(tables)
    return ClipAttributes(*tables.values(), names, further)


def _spell(tables):
    """Spells the values of an attribute alike in both modalities; see `own_data.one_spelling`."""
    num_faces = len(tables["face"])
    columns = dict.fromkeys(name for table in tables.values() for name in table.columns)
    for name in columns:
        if name == "identity":
            continue
        parts = [table[name] for table in tables.values() if name in table.columns]
        values = one_spelling(pd.concat(parts, ignore_index=True), name).to_numpy()
        if name in tables["face"].columns:
            tables["face"][name] = values[:num_faces]
        if name in tables["voice"].columns:
            tables["voice"][name] = values[len(values) - len(tables["voice"]) :]


def _add_clips(tables, embeddings, clips):
    """Adds the clips' own attributes; returns their names."""
    if "clip" not in clips.columns:
        raise ValueError(f"clips: expected a column 'clip', found {list(clips.columns)}; rename it")
    names = clip_columns(clips, ())
    clips = clips.assign(clip=clips["clip"].map(name_of))
    found = 0
    for modality in MODALITIES:
        ids = getattr(embeddings, f"{modality}_id")
        if ids is None:
            raise ValueError(
                f"embeddings: {modality}_id is missing; attributes of clips need their names"
            )
        rows = clips[clips.modality == modality] if "modality" in clips.columns else clips
        repeated = rows["clip"][rows["clip"].duplicated()]
        if len(repeated):
            raise ValueError(
                f"clips: {modality} {named(repeated.unique())} has two rows; keep one of each"
            )
        rows = rows.set_index("clip")[names]
        found += int(np.isin(ids, rows.index).sum())
        own = rows.reindex(ids, fill_value="").fillna("").astype(str).reset_index(drop=True)
        kept = tables[modality].drop(columns=names, errors="ignore")
        tables[modality] = pd.concat([kept, own], axis=1)
    if not found:
        raise ValueError(
            f"clips: no row is of a clip of the embeddings, such as {embeddings.face_id[0]!r}; use "
            "the names in face_id and voice_id"
        )
    return tuple(names)


def default_strata(attributes: ClipAttributes) -> dict[str, Any]:
    """Returns two strata of each attribute of the clips that both modalities have.

    ``+language`` restricts the negatives to clips in one language, ``=language`` the positives too.
    Of a further attribute of people, such as an accent, there is the first. One whose name has a
    "/" has none, which is logged: the names of replicates have it between their parts.

    Example
    -------
    >>> table = pd.DataFrame({"language": ["en", "ur"]})
    >>> list(default_strata(ClipAttributes(table, table, ("language",))))
    ['+language', '=language']
    """
    strata = {}
    of_clips, of_people = attributes.shared(), attributes.of_people()
    odd = [name for name in (*of_clips, *of_people) if "/" in name]
    if odd:
        logger.warning("%s: no strata of attributes with '/'; rename the column", named(odd))
    for name in of_clips:
        if name not in odd:
            strata[f"+{name}"] = {"negatives": [name]}
            strata[f"={name}"] = {"negatives": [name], "positives": [name]}
    for name in of_people:
        if name not in odd:
            strata[f"+{name}"] = {"negatives": [name]}
    return strata


def evaluate_strata(
    embeddings: Embeddings,
    attributes: ClipAttributes,
    strata: dict[str, Any],
    num_replicates: int = 1000,
    bootstrap_seed: int = 0,
    chunk_size: int = metrics.CHUNK_SIZE,
    device: str = "cpu",
    score: Score | None = None,
) -> Report:
    """Returns AUC and EER of each stratum, over all pairs that it compares, with intervals.

    Arguments
    ---------
    embeddings : Embeddings
    attributes : ClipAttributes
    strata : dict of str to dict
        Name to the attributes in which pairs must be equal: ``negatives``, a list, of pairs of two
        people, and ``positives``, of pairs of one. Unknown values are equal to none.
    num_replicates, bootstrap_seed, chunk_size, device, score
        As in `evaluate`.

    Returns
    -------
    Report
        By stratum ``auc``, ``eer``, their intervals if there is a bootstrap, ``num_positives``,
        ``num_negatives``, and ``reason`` where nothing is compared.

    Raises
    ------
    ValueError
        If a stratum names an attribute that the clips of a modality lack.
    """
    comparison, report = Comparison(embeddings, score, device), Report()
    report.replicates = {}
    reason = comparison.score.unable("verification")
    faces, voices = (comparison.clips(modality) for modality in MODALITIES)
    weights = None
    if num_replicates and len(embeddings.identities) > 1:
        draws = metrics.draw_weights(len(embeddings.identities), num_replicates, bootstrap_seed)
        weights = torch.as_tensor(draws, device=faces.vectors.device)
    for name, wanted in strata.items():
        stratum = _clip_stratum(name, wanted, attributes, embeddings, faces.vectors.device)
        node = dict.fromkeys(("auc", "eer"))
        if reason:
            report[name] = node | {"reason": reason}
            continue
        counts, replicates = count_clip_pairs(faces, voices, stratum, chunk_size, weights)
        values = metrics.area_under_curve(counts), metrics.equal_error_rate(counts)
        node = {key: number_or_none(value) for key, value in zip(node, values, strict=True)}
        spread = None
        if replicates and node["auc"] is not None:
            spread = replicates.rates(0, *values)
        if num_replicates:
            for place, key in enumerate(("auc", "eer")):
                of_key = np.full(num_replicates, np.nan)
                if spread is not None:
                    of_key = spread[place].cpu().numpy()
                node[f"{key}_interval"] = metrics.interval(of_key, node[key])
                report.replicates[f"{name}/{key}"] = of_key
        node["num_positives"] = int(counts.num_positives.sum())
        node["num_negatives"] = counts.num_negatives
        if node["auc"] is None:
            kind = "negative" if node["num_positives"] else "positive"
            node["reason"] = f"no {kind} pair is equal in what {name} asks for"
        report[name] = node
    return report


def _clip_stratum(name, wanted, attributes, embeddings, device):
    """Returns the `ClipStratum` of settings, in the order of the comparison's clips."""
    known = {"negatives", "positives"}
    if "/" in name or not isinstance(wanted, dict) or set(wanted) - known or not wanted:
        raise ValueError(
            f"strata: {name}: expected a name without '/', and negatives and positives, lists of "
            f"attributes such as {{negatives: [language]}}, got {wanted!r}"
        )
    sides = {}
    for side, names in wanted.items():
        names = [names] if isinstance(names, str) else list(names)
        for modality in MODALITIES:
            lacking = [one for one in names if one not in getattr(attributes, modality).columns]
            if lacking:
                raise ValueError(
                    f"strata: {name}: no attribute {named(lacking)} of the {modality} clips; there "
                    f"are {named(getattr(attributes, modality).columns) or 'none'}"
                )
        sides[side] = _codes(attributes, names, embeddings, device)
    if "negatives" not in sides:
        sides["negatives"] = _codes(attributes, [], embeddings, device)
    return ClipStratum(sides["negatives"], sides.get("positives"))


def _codes(attributes, names, embeddings, device):
    """Returns codes of face and voice clips that are equal where all attributes are."""
    tables = [getattr(attributes, modality)[names] for modality in MODALITIES]
    both = pd.concat(tables, ignore_index=True)
    codes = np.zeros(len(both), dtype=np.int64)
    if names:
        codes = both.groupby(names, sort=True).ngroup().to_numpy(np.int64)
        codes = np.where((both == "").any(axis=1), -1, codes)
    result = []
    for modality, part in zip(MODALITIES, np.split(codes, [len(tables[0])]), strict=True):
        order = np.argsort(getattr(embeddings, f"{modality}_identity"), kind="stable")
        result.append(torch.as_tensor(part[order], device=device))
    return tuple(result)


def evaluate_clip_groups(
    embeddings: Embeddings,
    attributes: ClipAttributes,
    min_identities: int = MIN_IDENTITIES,
    **options: Any,
) -> dict[str, list[dict[str, Any]]]:
    """Returns the verification values among the clips of each value of an attribute alone.

    Of a language, for example, the faces and the voices of clips in it. The entries are those of
    `groups.evaluate_groups`, by attribute of the clips.
    """
    result = {}
    for name in (*attributes.shared(), *attributes.of_people()):
        columns = [getattr(attributes, modality)[name] for modality in MODALITIES]
        values = sorted({*columns[0], *columns[1]} - {""})
        result[name] = [
            group_entry(
                embeddings,
                value,
                "group",
                group_rows(embeddings, [(column == value).to_numpy() for column in columns]),
                min_identities,
                options,
            )
            for value in values
        ]
    return result


def attributes_table(tables: dict[str, pd.DataFrame]) -> pd.DataFrame:
    """Returns the table of clips that `clip_attributes` takes, of rows of manifests.

    Arguments
    ---------
    tables : dict of str to pandas.DataFrame
        By modality the clips, with the column ID and their attributes.

    Returns
    -------
    pandas.DataFrame
        Columns modality, clip and the attributes.

    Example
    -------
    >>> clips = pd.DataFrame({"ID": ["x"], "image": ["x.jpg"], "language": ["Urdu"]})
    >>> attributes_table({"face": clips}).to_dict("records")
    [{'modality': 'face', 'clip': 'x', 'language': 'Urdu'}]
    """
    parts = []
    for modality, table in tables.items():
        part = table[["ID", *clip_columns(table, ())]].rename(columns={"ID": "clip"})
        parts.append(part.assign(modality=modality))
    table = pd.concat(parts, ignore_index=True).fillna("")
    return table[["modality", "clip", *clip_columns(table, ())]]
