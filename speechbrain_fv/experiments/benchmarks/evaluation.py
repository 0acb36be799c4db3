"""Evaluation at the size of the published test lists, beside numpy and scikit-learn."""

import json
import resource
import time

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.exact import check_device, evaluate
from speechbrain_fv.files import replacing
from speechbrain_fv.protocols import (
    MATCHING_STRATA,
    VERIFICATION_STRATA,
    check_metadata,
    stratum_groups,
)
from speechbrain_fv.settings.script import Parser


def made_up_people(num_faces, num_voices, num_identities, dim, seed=0):
    """Returns random float32 `Embeddings` with identities, and metadata like VoxCeleb1's.

    Example
    -------
    >>> embeddings, metadata = made_up_people(20, 30, 5, 8)
    >>> embeddings.face.shape, len(metadata)
    ((20, 8), 5)
    """
    rng = np.random.default_rng(seed)
    names = np.array([f"id{number:05d}" for number in range(num_identities)])
    centres = rng.normal(size=(num_identities, dim))
    sides = []
    for size in (num_faces, num_voices):
        others = rng.integers(0, num_identities, size - num_identities)
        sides.append(np.sort(np.r_[np.arange(num_identities), others]))
    vectors = [(0.35 * centres[who] + rng.normal(size=(len(who), dim))) for who in sides]
    metadata = pd.DataFrame(
        {
            "identity": names,
            "gender": rng.choice(["f", "m"], num_identities, p=[0.4, 0.6]),
            "nationality": rng.choice(
                [f"country {n}" for n in range(18)], num_identities, p=[0.49] + [0.03] * 17
            ),
            "age": rng.choice(["20", "30", "40", "50"], num_identities),
        }
    )
    vectors = [rows.astype(np.float32) for rows in vectors]
    return Embeddings(*vectors, *(names[who] for who in sides)), metadata


def peer_report(embeddings, metadata, max_candidates=10):
    """Returns the same values by numpy and scikit-learn, which hold all scores at once."""
    units = [
        side / np.linalg.norm(side, axis=1, keepdims=True)
        for side in (embeddings.face.astype(float), embeddings.voice.astype(float))
    ]
    names = embeddings.identities
    who = [np.searchsorted(names, embeddings.face_identity)]
    who.append(np.searchsorted(names, embeddings.voice_identity))
    scores = units[0] @ units[1].T
    table = check_metadata(metadata, names)
    groups = {name: stratum_groups(table, name) for name in VERIFICATION_STRATA}
    report = {
        f"verification/{name}": _peer_verification(scores, who, groups[name])
        for name in VERIFICATION_STRATA
    }
    for direction, part, sides in (("F-V", scores, who), ("V-F", scores.T, who[::-1])):
        same = sides[0][:, None] == sides[1]
        found = [average_precision_score(s, r) for s, r in zip(same, part, strict=True) if s.any()]
        report[f"retrieval/{direction}"] = [np.mean(found)]
        for name in MATCHING_STRATA:
            report[f"matching/{direction}/{name}"] = _peer_matching(
                part, sides, groups[name], max_candidates
            )
    return report


def _peer_verification(scores, who, group):
    same = who[0][:, None] == who[1]
    allowed = same | (group[who[0]][:, None] == group[who[1]])
    label, score = same[allowed], scores[allowed]
    accepted, found, _ = roc_curve(label, score)
    return [roc_auc_score(label, score), np.interp(0, accepted + found - 1, accepted)]


def _peer_matching(scores, who, group, max_candidates):
    values = np.full((len(scores), max_candidates - 1), np.nan)
    drawn = np.arange(max_candidates - 1)
    for query, (row, person) in enumerate(zip(scores, who[0], strict=True)):
        negatives = np.sort(row[(group[who[1]] == group[person]) & (who[1] != person)])
        below = np.searchsorted(negatives, row[who[1] == person])
        if len(below) and len(negatives):
            left = np.where(len(negatives) > drawn, len(negatives) - drawn, np.nan)
            wins = np.clip(below[:, None] - drawn, 0, None) / left
            values[query] = wins.cumprod(axis=1).mean(axis=0)
    return np.nanmean(values, axis=0).tolist()


def largest_difference(report, peer):
    """Returns the largest difference between a report and the peer's values of the same data."""
    differences = []
    for path, values in peer.items():
        task, *parts = path.split("/")
        node = report[task]
        for part in parts:
            node = node[part]
        if task == "verification":
            ours = [node["auc"], node["eer"]]
        else:
            ours = [node["map"]] if task == "retrieval" else [v["accuracy"] for v in node.values()]
        differences += np.abs(np.subtract(ours, values)).tolist()
    return max(differences)


def main(argv):
    """Measures both and prints a table; ``--json=FILE`` keeps the figures."""
    parser = Parser("benchmark.py evaluation", __doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--num_faces", type=int, default=20076)
    parser.add_argument("--num_voices", type=int, default=21850)
    parser.add_argument("--num_identities", type=int, default=189)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--peer_clips", type=int, default=2000, help="of each kind, for the peer")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(argv)
    check_device(options.device)
    sizes = (options.num_faces, options.num_voices, options.num_identities, options.dim)
    data = made_up_people(*sizes)
    figures = {"device": options.device, "threads": torch.get_num_threads(), "sizes": sizes}
    print(f"{options.device}, {figures['threads']} threads; faces, voices, identities, dim {sizes}")
    for label, num_replicates in (("exact", 0), ("exact_and_intervals", 1000)):
        before = time.process_time()
        seconds, _ = _timed(evaluate, *data, num_replicates=num_replicates, device=options.device)
        cpu = time.process_time() - before
        figures[label] = {"seconds": seconds, "cpu_seconds": cpu, "peak_gib": _peak_gib()}
        print(
            f"ours, {label}: {seconds:.1f} s ({cpu:.1f} s of CPU time), "
            f"peak of the process {_peak_gib():.2f} GiB",
            flush=True,
        )
    if options.device.startswith("cuda"):
        figures["peak_device_gib"] = torch.cuda.max_memory_allocated() / 2**30
        print(f"peak of the device {figures['peak_device_gib']:.2f} GiB")
    clips = [min(options.peer_clips, size) for size in sizes[:2]]
    data = made_up_people(*clips, *sizes[2:])
    ours, report = _timed(evaluate, *data, num_replicates=0, device=options.device)
    theirs, peer = _timed(peer_report, *data)
    more = sizes[0] * sizes[1] / (clips[0] * clips[1])
    figures["peer"] = {"clips": clips, "seconds": theirs, "ours_seconds": ours}
    figures["peer"]["extrapolated_seconds"] = theirs * more
    figures["peer"]["largest_difference"] = largest_difference(report, peer)
    print(
        f"{clips[0]} x {clips[1]} clips: numpy and scikit-learn {theirs:.1f} s, ours {ours:.1f} s, "
        f"largest difference {figures['peer']['largest_difference']:.1e}\n"
        f"extrapolated by the number of pairs, not measured: numpy and scikit-learn "
        f"{theirs * more:.0f} s, {sizes[0] * sizes[1] * 8 / 2**30:.1f} GiB for the scores alone"
    )
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(figures, indent=2).encode() + b"\n")


def _timed(function, *args, **kwargs):
    """Returns seconds and result of a call."""
    start = time.perf_counter()
    result = function(*args, **kwargs)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def _peak_gib():
    """Returns the most memory that this process has held, in GiB (ru_maxrss is in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


if __name__ == "__main__":
    import sys

    main(sys.argv[1:])
