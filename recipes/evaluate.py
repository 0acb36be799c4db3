#!/usr/bin/env python3
"""Scores the face and voice embeddings of any method, exactly.

    python recipes/evaluate.py hparams/evaluate.yaml --embeddings=E.npz [--metadata=M.csv]
        [--output_folder=OUT] [--device=cuda] [--key=value ...]

Leaves report.json, replicates.npz, table.md, table.tex and figures in the output folder.
hparams/evaluate.yaml explains the keys. With --embeddings=null and --lists of VoxCeleb and VGGFace
paths, the lists are audited and nothing is scored.
"""

import sys
from pathlib import Path

from speechbrain_fv.settings import reads
from speechbrain_fv.settings.script import answer, run_script

if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, "evaluate.yaml", reads.EVALUATE_OPTIONS)

from speechbrain_fv.corpora.voxceleb_splits import read_meta
from speechbrain_fv.evaluation import exact as evaluation
from speechbrain_fv.evaluation.audit import format_audit
from speechbrain_fv.evaluation.challenge import evaluate_challenges, format_challenge
from speechbrain_fv.evaluation.embeddings import load_embeddings
from speechbrain_fv.evaluation.lists import evaluate_lists, format_lists, save_list_files
from speechbrain_fv.evaluation.people import add_people, format_people
from speechbrain_fv.evaluation.report_sheets import write_report_tables
from speechbrain_fv.evaluation.sets import add_attributes, format_sets, sets_leakage
from speechbrain_fv.evaluation.unscored import Unscored, embeddings_of_names
from speechbrain_fv.figures.run_figures import report_run
from speechbrain_fv.files import only_process
from speechbrain_fv.protocols import resolve_lists
from speechbrain_fv.protocols.ages import with_age_groups
from speechbrain_fv.protocols.leakage import check_leakage, read_train_identities
from speechbrain_fv.scores import with_weights
from speechbrain_fv.settings.loading import load_hparams


def main(argv):
    """Reads the settings, takes the output folder, and runs."""
    run_opts, hparams, _ = load_hparams(argv, reads.EVALUATE, reads.EVALUATE_OPTIONS)
    with only_process(hparams["output_folder"]):
        run(hparams, run_opts)


def run(hparams, run_opts):
    """Loads, evaluates and reports, in a folder that no other run writes to."""
    audit_only = hparams["embeddings"] is None
    if audit_only and not hparams["lists"]:
        raise ValueError(
            "embeddings: expected an .npz, got null; without it there must be lists to audit"
        )
    if audit_only:
        embeddings = embeddings_of_names(hparams["lists"])
    else:
        embeddings = load_embeddings(hparams["embeddings"])
    metadata = _metadata(hparams, audit_only)
    lists = resolve_lists(hparams["lists"], embeddings, metadata) if hparams["lists"] else []
    trained = hparams["train_identities"] and read_train_identities(hparams["train_identities"])
    leakage = check_leakage(
        # An audit tests no model, so it counts the people of the training and goes on.
        trained,
        embeddings,
        lists,
        hparams["meta_csv"],
        hparams["allow_leakage"] or audit_only,
    )
    score = Unscored() if audit_only else with_weights(hparams["score"], hparams["score_weights"])
    device = run_opts["device"] or "cpu"
    report = {}
    if not audit_only and not embeddings.labelled and not lists:
        raise ValueError(
            f"{hparams['embeddings']}: it does not tell who is on the clips, so only lists can be "
            "scored; give lists, or add face_identity and voice_identity"
        )
    if not audit_only and embeddings.labelled:
        of_sets = sets_leakage(
            trained, hparams["sets"], hparams["meta_csv"], hparams["allow_leakage"]
        )
        leakage |= {"sets": of_sets} if of_sets else {}
        options = {
            "max_candidates": hparams["max_candidates"],
            "num_replicates": hparams["num_replicates"],
            "bootstrap_seed": hparams["bootstrap_seed"],
            "chunk_size": hparams["chunk_size"],
            "device": device,
            "score": score,
        }
        report = evaluation.evaluate(
            embeddings, metadata, progress=not run_opts["noprogressbar"], **options
        )
        add_people(report, embeddings, metadata, **options)
        clips = hparams["clips"] and evaluation.load_metadata(hparams["clips"])
        add_attributes(
            report, embeddings, clips, metadata, hparams["strata"], hparams["sets"], **options
        )
    folder = Path(hparams["output_folder"])
    report["leakage"] = leakage
    if lists:
        report["lists"] = evaluate_lists(
            embeddings,
            lists,
            metadata,
            hparams["chunk_size"],
            device,
            score,
            leakage,
            0 if audit_only else hparams["num_replicates"],
            hparams["bootstrap_seed"],
        )
        if not audit_only:
            challenge = evaluate_challenges(
                embeddings,
                lists,
                folder,
                hparams["num_replicates"],
                hparams["bootstrap_seed"],
                device,
                score,
            )
            report |= {"challenge": challenge} if challenge else {}
        save_list_files(folder / "lists", lists)
    write_report_tables(folder, report)
    evaluation.save_report(folder / "report.json", report)
    _tell(report, hparams, folder, score, audit_only)


def _metadata(hparams, audit_only):
    """Returns the table of identities; of an audit without one, what vox1_meta.csv says."""
    if hparams["metadata"]:
        metadata = evaluation.load_metadata(hparams["metadata"])
        return with_age_groups(metadata, hparams["age_edges"])
    return read_meta(hparams["meta_csv"]) if audit_only and hparams["meta_csv"] else None


def _tell(report, hparams, folder, score, audit_only):
    """Draws the figures and prints the tables of what was scored, then those of the lists."""
    drawn = "verification" in report
    if drawn:
        paths = {name: hparams[name] for name in ("embeddings", "metadata")}
        report_run(folder, **paths, score=score)
        print(evaluation.format_report(report))
        if people := format_people(report):
            print(f"\n{people}")
        if tables := format_sets(report):
            print(f"\n{tables}")
    if "lists" in report:
        if not audit_only:
            print(f"\n{format_lists(report['lists'])}")
        print(f"\n{format_audit(report['lists'])}\n")
    if "challenge" in report:
        print(f"{format_challenge(report['challenge'])}\n")
        print(f"Submission: {report['challenge']['submission']}")
    print(f"Report{' and figures' if drawn else ''}: {folder}")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
