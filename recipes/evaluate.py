#!/usr/bin/env python3
"""Scores the face and voice embeddings of any method, exactly.

    python recipes/evaluate.py hparams/evaluate.yaml --embeddings=E.npz [--metadata=M.csv]
        [--output_folder=OUT] [--device=cuda] [--key=value ...]

Leaves report.json, replicates.npz and figures in the output folder.
hparams/evaluate.yaml explains the keys.
"""

import sys
from pathlib import Path

from speechbrain_fv.evaluation import exact as evaluation
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists, save_list_files
from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.protocols import resolve_lists
from speechbrain_fv.protocols.ages import with_age_groups
from speechbrain_fv.protocols.leakage import check_leakage, read_train_identities
from speechbrain_fv.scores import with_weights
from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import load_hparams, run_script


def main(argv):
    """Loads, evaluates and reports."""
    run_opts, hparams, _ = load_hparams(argv, reads.EVALUATE, reads.EVALUATE_OPTIONS)
    embeddings = load_embeddings(hparams["embeddings"])
    metadata = None
    if hparams["metadata"]:
        metadata = evaluation.load_metadata(hparams["metadata"])
        metadata = with_age_groups(metadata, hparams["age_edges"])
    lists = resolve_lists(hparams["lists"], embeddings, metadata) if hparams["lists"] else []
    trained = hparams["train_identities"] and read_train_identities(hparams["train_identities"])
    leakage = check_leakage(
        trained, embeddings, lists, hparams["meta_csv"], hparams["allow_leakage"]
    )
    score = with_weights(hparams["score"], hparams["score_weights"])
    device = run_opts["device"] or "cpu"
    report = evaluation.evaluate(
        embeddings,
        metadata,
        max_candidates=hparams["max_candidates"],
        num_replicates=hparams["num_replicates"],
        bootstrap_seed=hparams["bootstrap_seed"],
        chunk_size=hparams["chunk_size"],
        device=device,
        progress=not run_opts["noprogressbar"],
        score=score,
    )
    folder = Path(hparams["output_folder"])
    report["leakage"] = leakage
    if lists:
        report["lists"] = evaluate_lists(
            embeddings, lists, metadata, hparams["chunk_size"], device, score
        )
        save_list_files(folder / "lists", lists)
    evaluation.save_report(folder / "report.json", report)
    report_run(folder, embeddings=hparams["embeddings"], metadata=hparams["metadata"], score=score)
    print(evaluation.format_report(report))
    if lists:
        print(f"\n{format_lists(report['lists'])}\n")
    print(f"Report and figures: {folder}")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
