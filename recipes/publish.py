#!/usr/bin/env python3
"""Makes a bundle of a training: a model that others load in three lines; uploads it if told to.

    python recipes/publish.py RESULTS_FOLDER --repo=OWNER/NAME [--license=NAME] [--data=TEXT]
        [--encoders=YAML] [--bundle_folder=DIR] [--push [--private] [--branch=NAME] [--token=TOKEN]]

RESULTS_FOLDER is the output folder of train.py. Writes the bundle to DIR, loads it in a fresh
process, and checks that its embeddings equal the training's; with --push it then goes to the
Hugging Face hub in one commit. Without --push nothing leaves this machine. Rather than --token,
which other users of this machine can see, set HF_TOKEN or run `hf auth login`.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from speechbrain_fv.settings.script import Parser, answer, run_script


def parse(argv):
    """Returns the options of the command line."""
    parser = Parser("publish.py", __doc__)
    add = parser.add_argument
    add("results_folder", type=Path, help="output folder of a finished training")
    add("--repo", required=True, metavar="OWNER/NAME", help="name of the model on the hub")
    add("--license", help="of the weights; apache-2.0 for models of the embedded corpus alone")
    add("--data", help="whose faces and voices, from where, by what right; needed for own data")
    add("--encoders", type=Path, help="YAML of the encoders that precomputed vectors came from")
    add("--bundle_folder", type=Path, help="default: RESULTS_FOLDER/bundle")
    add("--device", default="cpu", help="that of the training, for the check (default: cpu)")
    add("--push", action="store_true", help="upload the bundle")
    add("--private", action="store_true", help="to a repository that only the owner sees")
    add("--branch", default="main", help="of the repository (default: main)")
    add("--message", default="Publish a face-voice association model", help="of the commit")
    add("--token", help="of the hub, with write permission; better set HF_TOKEN")
    return parser.parse_args(argv)


if __name__ == "__main__":  # before the imports that take seconds
    answer(__doc__, parse=parse)

from speechbrain_fv.bundles import hub
from speechbrain_fv.bundles.layout import CARD_FILE, CONFIG_FILE, FILES, REPORT_FILE
from speechbrain_fv.files import only_process
from speechbrain_fv.publish.card import model_card
from speechbrain_fv.publish.card_settings import read_settings
from speechbrain_fv.publish.check import check_bundle
from speechbrain_fv.publish.export import export_bundle
from speechbrain_fv.publish.named_encoders import NamedEncoders


def build(options, folder):
    """Writes the bundle where it stays once it is whole and checked; an error leaves an old one."""
    settings = read_settings(options.results_folder, options.license, options.data)
    encoders = options.encoders and NamedEncoders(options.encoders, options.results_folder)
    if encoders:
        encoders.check()
    staging = folder / ".partial"
    shutil.rmtree(staging, ignore_errors=True)  # of a run that was killed
    staging.mkdir(parents=True)
    try:
        config = export_bundle(options.results_folder, staging, options.repo, encoders)
        report = json.loads((staging / REPORT_FILE).read_text(encoding="utf-8"))
        (staging / CARD_FILE).write_text(model_card(report, config, settings), encoding="utf-8")
        differences = check_bundle(staging, options.results_folder, options.device)
        (folder / CONFIG_FILE).unlink(missing_ok=True)  # without it, nothing loads
        for name in sorted(FILES, key=CONFIG_FILE.__eq__):
            os.replace(staging / name, folder / name)
    finally:
        shutil.rmtree(staging)
    return differences


def main(argv):
    """Builds, checks and, if told to, uploads."""
    options = parse(argv)
    hub.check_repo(options.repo)
    folder = options.bundle_folder or options.results_folder / "bundle"
    if folder.resolve() == options.results_folder.resolve():
        raise ValueError(f"--bundle_folder: expected another folder than the training's, {folder}")
    with only_process(folder):
        differences = build(options, folder)
    print(
        "Loaded again: embeddings differ from the training's by at most {face:.1e} ({num_faces} "
        "faces) and {voice:.1e} ({num_voices} voices)".format(**differences)
    )
    print(f"Bundle: {folder}; read its README.md before you publish it")
    if options.push:
        commit = hub.push(
            *(folder, options.repo, options.token),
            private=options.private,
            branch=options.branch,
            message=options.message,
        )
        print(f"Published: {commit.url}")


if __name__ == "__main__":
    sys.exit(run_script(main, __doc__))
