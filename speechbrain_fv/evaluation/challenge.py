"""Lists of a challenge: scores, the official error rate, the report."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from speechbrain_fv import metrics
from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.corpora.mavceleb_layout import parse_name
from speechbrain_fv.data.schema import check_columns
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.lists import list_replicates
from speechbrain_fv.evaluation.report import number_or_none, percent
from speechbrain_fv.evaluation.scoring import Comparison
from speechbrain_fv.evaluation.submission import write_submission
from speechbrain_fv.files import PathLike, read_table, replacing
from speechbrain_fv.metrics.listed import listed_counts, official_eer
from speechbrain_fv.names import name_of
from speechbrain_fv.protocols.resolve import ResolvedList
from speechbrain_fv.protocols.score_files import DIRECTION_FILE, directions_in, scores_of
from speechbrain_fv.scores import Score, is_cosine
from speechbrain_fv.scores.averaging import averaged

logger = logging.getLogger(__name__)

VALUES = ("eer", "official_eer")
REPLICATES = "challenge_replicates.npz"
MODALITY_AXES = {"face": 1, "voice": 0}


def list_similarities(resolved: ResolvedList, comparison: Comparison) -> np.ndarray:
    """Returns the scores of a list, higher for one person, normalised and fused as it asks for.

    Arguments
    ---------
    resolved : ResolvedList
        Of a challenge, whose `Scoring` says how.
    comparison : Comparison

    Returns
    -------
    numpy.ndarray of shape (num_rows,), float64
    """
    scoring = resolved.trials.challenge.scoring
    reason = comparison.score.unable("verification")
    if reason:
        raise ValueError(f"{resolved.trials.source}: {reason}")
    rows = {resolved.probe: resolved.probes, resolved.target: resolved.targets}
    used, place = {}, {}
    for modality, of_list in rows.items():
        clips, place[modality] = np.unique(of_list, return_inverse=True)
        vectors = comparison.given[modality]
        if scoring.groups is not None:
            groups, names = _groups(resolved, comparison, modality)
            means = averaged(vectors.cpu(), groups, names, score=comparison.score)
            vectors = torch.as_tensor(means[groups], device=vectors.device)
        used[modality] = vectors[torch.as_tensor(clips, device=vectors.device)]
    if not scoring.normalize:
        pairs = (used[name][torch.as_tensor(place[name])] for name in MODALITY_AXES)
        scores = comparison.score.pairs(*pairs).cpu().numpy()
    else:
        prepared = (comparison.prepare(name)(used[name]) for name in MODALITY_AXES)
        table = comparison.values(*prepared).cpu().numpy()
        scores = table[place["face"], place["voice"]]
        parts = []
        for modality, axis in MODALITY_AXES.items():
            mean, spread = table.mean(axis=axis), table.std(axis=axis)
            spread = np.where(spread > 0, spread, 1.0)
            parts.append((scores - mean[place[modality]]) / spread[place[modality]])
        scores = np.mean(parts, axis=0)
    if not scoring.fuse:
        return scores
    challenge, all_scores = resolved.trials.challenge, [scores]
    for folder in scoring.fuse:
        file = Path(folder, challenge.file)
        others = scores_of(challenge.keys, file, resolved.trials.source)
        direction = directions_in(folder).get(challenge.file, scoring.submitted)
        all_scores.append(_signed(others, direction))
        alike = float(np.mean(standardised(scores) * standardised(all_scores[-1])))
        if alike < 0:
            logger.warning(
                "fuse: %s: taken as %s, its scores contradict those of this model (correlation "
                "%.2f); if its direction is another, state it in %s beside: {%s: ...}",
                *(file, direction, alike, DIRECTION_FILE, json.dumps(challenge.file)),
            )
    parts = zip(scoring.weights, all_scores, strict=True)
    return sum(w * standardised(s) for w, s in parts) / sum(scoring.weights)


def _groups(resolved, comparison, modality):
    """Returns the group of each clip of a modality by the CSV of a challenge, and their names."""
    file = resolved.trials.challenge.scoring.groups
    table = check_columns(read_table(file), ["clip", "group"], file)
    table["group"] = table["group"].map(name_of)
    names, own, keys = resolved.trials.clip_names, {}, {}
    stated = [parse_name(name) for name in table["clip"]]
    for each in MODALITY_AXES:
        rows = table["clip"][[name is None or name.modality in (None, each) for name in stated]]
        keys[each] = pd.Series(names.keys(rows.tolist(), each).to_numpy(), rows.index)
        own[each] = names.keys(getattr(comparison.embeddings, f"{each}_id").tolist(), each)
    if not any(keys[each].isin(own[each]).any() for each in MODALITY_AXES):
        raise ValueError(
            f"groups: {file}: none of its {len(table)} clips is among the embeddings, such as "
            f"{next(iter(table['clip']), '')!r}; name clips as the lists do"
        )
    keys, own = keys[modality], own[modality]
    repeated = keys[keys.duplicated()]
    if len(repeated):
        raise ValueError(
            f"{file}, line {repeated.index[0] + 2}: clip {table['clip'][repeated.index[0]]!r} is "
            "listed twice; keep one line"
        )
    group = own.map(dict(zip(keys, table["group"][keys.index], strict=True)))
    alone = pd.Series([f"alone {row}" for row in range(len(own))])
    return pd.factorize(group.map("group {}".format, na_action="ignore").fillna(alone))


def _signed(scores, submitted):
    """Returns submitted scores as similarities, or the other way round."""
    return -scores if submitted == "distance" else scores


def standardised(scores: np.ndarray) -> np.ndarray:
    """Returns scores with mean 0 and standard deviation 1; zeros where all are the same.

    Example
    -------
    >>> standardised(np.array([1.0, 3.0])).tolist()
    [-1.0, 1.0]
    """
    spread = scores.std()
    return (scores - scores.mean()) / (spread if spread > 0 else 1.0)


def submitted_scores(similarities: np.ndarray, submitted: str, cosine: bool) -> np.ndarray:
    """Returns scores in the direction that is submitted; the distance of a cosine is 1 less it.

    Example
    -------
    >>> submitted_scores(np.array([0.75, -0.5]), "distance", cosine=True).tolist()
    [0.25, 1.5]
    """
    if submitted == "similarity":
        return similarities
    return 1.0 - similarities if cosine else -similarities


def warn_of_direction(source: str, auc: float | None, eer: float | None) -> bool:
    """Logs a warning where labels say that the direction of scores is wrong; returns if so."""
    if auc is None or auc >= 0.5:
        return False
    logger.warning(
        "%s: by its own labels the direction of the scores is wrong: AUC %.2f %%, EER %.2f %%, "
        "with the other sign %.2f %%; a distance is lower for one person, a similarity higher",
        source,
        100 * auc,
        100 * (eer or 0),
        100 * (1 - (eer or 0)),
    )
    return True


def evaluate_challenges(
    embeddings: Embeddings,
    lists: Sequence[ResolvedList],
    folder: PathLike,
    num_replicates: int = 1000,
    bootstrap_seed: int = 0,
    device: str = "cpu",
    score: Score | None = None,
) -> dict[str, Any] | None:
    """Scores the lists of a challenge, writes its submission, and returns its section of a report.

    Arguments
    ---------
    embeddings : Embeddings
    lists : sequence of ResolvedList
        Those of no challenge are passed over.
    folder : path
        Output folder: gets `submission/` unless the lists name another place, and
        `challenge_replicates.npz`, by which an evaluation of the other direction is paired.
    num_replicates, bootstrap_seed, device, score
        As in `evaluate`; the intervals are over the people of the embeddings.

    Returns
    -------
    dict or None
        None without such a list. Else ``protocol``, ``version`` and ``trained_on``;
        ``submission``, the zip; ``lists`` by part,
        such as "heard": ``language``, ``file``, ``num_rows``, ``auc``, ``eer`` (exact),
        ``official_eer`` (of the scores as submitted), ``eer_interval``, and ``direction_is_wrong``
        where the labels say so; their ``mean``; and with the evaluation of the other direction
        ``overall``, the mean over both.

    Raises
    ------
    ValueError
        If lists of two challenges are mixed, or a score is not finite.
    """
    lists = [resolved for resolved in lists if resolved.trials.challenge]
    if not lists:
        return None
    if len({id(resolved.trials.challenge.scoring) for resolved in lists}) > 1:
        raise ValueError("lists: expected those of one challenge; evaluate two of them apart")
    Path(folder, REPLICATES).unlink(missing_ok=True)  # of an earlier evaluation
    comparison, submitted = Comparison(embeddings, score, device), []
    scoring, first = lists[0].trials.challenge.scoring, lists[0].trials.challenge
    plain_cosine = is_cosine(comparison.score) and not scoring.normalize and not scoring.fuse
    section = {name: getattr(first, name) for name in ("protocol", "version", "trained_on")}
    section, spreads, people = section | {"lists": {}}, {}, set()
    for resolved in lists:
        similarities = list_similarities(resolved, comparison)
        submitted.append(submitted_scores(similarities, scoring.submitted, plain_cosine))
        challenge = resolved.trials.challenge
        node = {"language": challenge.language, "file": challenge.file}
        node["num_rows"] = len(challenge.keys)
        node |= rates_of(resolved.labels, similarities)
        node["official_eer"] = official_of(resolved, submitted[-1])
        if warn_of_direction(resolved.trials.source, node["auc"], node["eer"]):
            node["direction_is_wrong"] = True
        spread = None
        if num_replicates and resolved.labels is not None:
            spread = list_replicates(
                resolved, comparison, num_replicates, bootstrap_seed, scores=similarities
            )
        if spread:
            node["eer_interval"] = metrics.interval(spread["eer"], node["eer"])
            spreads[challenge.part] = spread["eer"]
            people.add(tuple(people_of(resolved, embeddings)))
        section["lists"][challenge.part] = node
    paired = len(people) == 1 and len(spreads) == len(lists)
    section["mean"] = _mean(section["lists"].values(), [*spreads.values()] if paired else [None])
    bootstrap = None
    if paired:
        bootstrap = {"identities": np.array(people.pop()), "seed": np.array(bootstrap_seed)}
        with replacing(Path(folder, REPLICATES)) as file:
            np.savez(file, **bootstrap, **{f"{part}/eer": of for part, of in spreads.items()})
    if scoring.other is not None:
        section["overall"] = _overall(section, [*spreads.values()], bootstrap, scoring.other)
    place = scoring.submission or Path(folder, "submission")
    section["submission"] = str(write_submission(place, lists, submitted))
    return section


def rates_of(labels: np.ndarray | None, similarities: np.ndarray) -> dict[str, float | None]:
    """Returns the exact ``auc`` and ``eer`` of scores; None without labels of both kinds.

    Example
    -------
    >>> rates_of(np.array([True, False]), np.array([0.5, 0.25]))
    {'auc': 1.0, 'eer': 0.0}
    """
    if labels is None:
        return {"auc": None, "eer": None}
    scores = torch.as_tensor(similarities)
    same = torch.as_tensor(np.array(labels))
    counts = listed_counts(scores[same], scores[~same])
    return {
        "auc": number_or_none(metrics.area_under_curve(counts)),
        "eer": number_or_none(metrics.equal_error_rate(counts)),
    }


def people_of(resolved: ResolvedList, embeddings: Embeddings) -> list[str]:
    """Returns who is on the clips of a list, sorted."""
    people = set()
    for modality, rows in (
        (resolved.probe, resolved.probes),
        (resolved.target, resolved.targets),
    ):
        people |= set(getattr(embeddings, f"{modality}_identity")[rows].tolist())
    return sorted(people)


def _mean(nodes, spreads):
    """Returns the mean error rates of lists, with the interval of the exact one."""
    mean = {"num_lists": len(nodes)}
    for key in VALUES:
        values = [node.get(key) for node in nodes]
        mean[key] = None if None in values else float(np.mean(values))
    if all(spread is not None for spread in spreads) and mean["eer"] is not None:
        mean["eer_interval"] = metrics.interval(np.mean(spreads, axis=0), mean["eer"])
    return mean


def _overall(section, spreads, bootstrap, other):
    """Returns the mean over two evaluations, each of a model trained on one language."""
    path = Path(other, "report.json")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))["challenge"]
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"other: {path}: expected the report of the evaluation of the other direction, with "
            f"its challenge ({type(error).__name__}: {error}); evaluate that first"
        ) from None
    for name in ("protocol", "version"):
        if found.get(name, section[name]) != section[name]:  # older reports lack them
            raise ValueError(
                f"other: {path}: expected {name} {section[name]}, got {found[name]}; give the "
                "evaluation of the other direction of the same lists"
            )
    if found["trained_on"] == section["trained_on"]:
        raise ValueError(
            f"other: {path}: expected a model trained on the other language, got one trained on "
            f"{found['trained_on']} too"
        )
    others, beside = [None], path.with_name(REPLICATES)
    if bootstrap and beside.is_file():
        archive, _ = read_arrays(beside)
        if all(np.array_equal(archive[name], value) for name, value in bootstrap.items()):
            others = [archive[f"{part}/eer"] for part in found["lists"]]
    spreads = [*spreads, *others]
    if len({None if spread is None else len(spread) for spread in spreads}) > 1:
        spreads = [None]
    return _mean([*section["lists"].values(), *found["lists"].values()], spreads)


def format_challenge(section: Mapping[str, Any]) -> str:
    """Returns the table of a challenge for the terminal, in percent.

    Example
    -------
    >>> lists = {"heard": {"language": "English", "eer": 0.25, "official_eer": 0.25}}
    >>> mean = {"eer": 0.25, "official_eer": 0.25, "num_lists": 1}
    >>> print(format_challenge({"trained_on": "English", "lists": lists, "mean": mean}))
    trained on English                         EER  official EER
    heard, English                           25.00         25.00
    mean of 1                                25.00         25.00
    """
    rows = {f"{part}, {node['language']}": node for part, node in section["lists"].items()}
    rows |= {
        f"{'overall, ' * (name == 'overall')}mean of {section[name]['num_lists']}": section[name]
        for name in ("mean", "overall")
        if name in section
    }
    lines = [f"{'trained on ' + section['trained_on']:<26}{'EER':>20}{'official EER':>14}"]
    for name, node in rows.items():
        exact = percent(node.get("eer"), node.get("eer_interval"))
        lines.append(f"{name:<26}{exact:>20}{percent(node.get('official_eer')):>14}")
    return "\n".join(lines)


def official_of(resolved: ResolvedList, scores: np.ndarray) -> float | None:
    """Returns the official error rate of submitted scores of a list; None without labels."""
    if resolved.labels is None:
        return None
    distances = scores if resolved.trials.challenge.scoring.submitted == "distance" else -scores
    return number_or_none(official_eer(resolved.labels, distances))
