"""The FLAG recipe from media: frozen encoders, whose features are kept, to the zip."""

import zipfile

import pandas as pd

from tests.paths import HPARAMS
from tests.processes import recipe, run_forked
from tests.test_mavceleb import write_corpus, write_test

FACE = "--face=!include:face/frozen.yaml {encoder: !include:face/timm.yaml {model: test_resnet}}"
VOICE = "--voice=!include:voice/frozen.yaml {encoder: !include:voice/dimnet.yaml {}}"
SMALL = (
    *("--num_clusters=[2]", "--batch_size=8", "--steps_per_epoch=2", "--number_of_epochs=1"),
    "--draw_figures=False",
)


def test_media_and_frozen_encoders_end_in_a_submission(tmp_path):
    folder = write_corpus(tmp_path / "v4", "v4", [f"id{number:04d}" for number in range(1, 21)])
    files = write_test(folder, "v4")
    reading = "vad: False, scan_workers: 0, image_size: 32, resize: 36, clip_seconds: 1.0"
    tests = ", ".join(f"{language}: {file}" for language, file in files.items())
    result = run_forked(
        recipe(
            *("train", HPARAMS / "flag.yaml", f"--folder={folder}", FACE, VOICE, *SMALL),
            f"--corpus=!include:corpora/mavceleb.yaml {{folder: {folder}, version: v4, heard: "
            f"English, cache_folder: {tmp_path}, {reading}, test_lists: {{{tests}}}}}",
            f"--lists={{lists: {{no_gender: {{{tests}}}, gender: null}}}}",
            f"--frozen_features={{cache_folder: {tmp_path}}}",
            f"--output_folder={tmp_path / 'run'}",
        )
    )
    assert result.returncode == 0, result.stderr
    assert "face features: computed" in result.stderr + result.stdout
    with zipfile.ZipFile(tmp_path / "run" / "submission" / "submission.zip") as archive:
        names = [f"no_gender/sub_score_v4_{end}.txt" for end in ("Bangla_unheard", "English_heard")]
        assert sorted(archive.namelist()) == names
        with archive.open(names[1]) as file:
            scores = pd.read_csv(file, sep=" ", header=None)
    assert scores[0].tolist() == [f"keyEn{number:03d}" for number in range(3)]
    assert scores[1].nunique() == 3
