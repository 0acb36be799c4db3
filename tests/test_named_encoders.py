"""A model trained on vectors, published with the encoders that they came from, takes files."""

import json
import runpy
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file
from speechbrain.inference.interfaces import foreign_class

from speechbrain_fv.corpora.embedded import prepare_embedded
from speechbrain_fv.data.manifests import load_manifests
from speechbrain_fv.data.readers import ImageReader, SpeechReader
from speechbrain_fv.encoders import GE2E, timm_network
from speechbrain_fv.inference import FaceVoiceAssociation
from tests.paths import HPARAMS, ROOT
from tests.processes import recipe, run_forked


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Folder of a training on vectors of a ResNet and a GE2E encoder, with a YAML of these."""
    folder = tmp_path_factory.mktemp("named")
    prepare_embedded(folder / "media", str(folder), num_identities=12, num_workers=1)
    manifests = load_manifests(folder / "media")
    faces, voices = (pd.concat(t.values()) for t in (manifests.faces, manifests.voices))
    torch.manual_seed(0)
    face, voice = timm_network("test_resnet").eval(), GE2E().eval()
    save_file(face.state_dict(), folder / "face.safetensors")
    torch.save({"model_state": voice.layers.state_dict()}, folder / "voice.pt")
    read_image = ImageReader(160, 168, [0.5, 0.5, 0.5], [0.5, 0.5, 0.5], "bicubic")
    read_speech = SpeechReader(2.0)
    with torch.inference_mode():
        face_vectors = [face(read_image(path, None)[None])[0] for path in faces.image]
        voice_vectors = [
            voice(read_speech(row.wav, row.start, row.stop, "", None)[None])[0]
            for row in voices.itertuples()
        ]
    clips = [f"c{number}" for number in range(len(faces))]
    table = pd.DataFrame({"clip": clips, "identity": faces.spk_id.to_numpy()})
    table.to_csv(folder / "clips.csv", index=False)
    arrays = {
        "face": torch.stack(face_vectors).numpy(),
        "voice": torch.stack(voice_vectors).numpy(),
    }
    np.savez(folder / "vectors.npz", clip=clips, **arrays)
    samples = table.assign(face=faces.image.to_numpy(), wav=voices.wav.to_numpy())
    samples.iloc[::7].to_csv(folder / "samples.csv", index=False)
    options = [
        f"--corpus=!include:corpora/embeddings.yaml {{clips_csv: {folder}/clips.csv, "
        f"embeddings: {folder}/vectors.npz, face_key: face, voice_key: voice}}",
        f"--face=!include:face/embedding.yaml {{input_dim: {face.num_features}}}",
        "--voice=!include:voice/embedding.yaml",
        "--num_clusters=[2]",
        "--batch_size=8",
        "--steps_per_epoch=2",
        "--number_of_epochs=1",
        "--draw_figures=False",
        f"--output_folder={folder}/run",
    ]
    result = run_forked(recipe("train", HPARAMS / "bipcm_fst.yaml", *options))
    assert result.returncode == 0, result.stderr
    write_encoders(folder)
    return folder, arrays, samples


def write_encoders(folder, name="mine", **changed):
    values = {"mean": "[0.5, 0.5, 0.5]", "samples": f"{folder}/samples.csv"} | changed
    text = f"""\
--- !include:encoders.yaml
samples: {values["samples"]}
face: !include:face/timm.yaml
    model: test_resnet
    checkpoint: {folder}/face.safetensors
    images:
        input_size: [3, 160, 160]
        crop_pct: 0.95
        interpolation: bicubic
        mean: {values["mean"]}
        std: [0.5, 0.5, 0.5]
voice: !include:voice/ge2e.yaml
    checkpoint: {folder}/voice.pt
corpus: {{voice_reader: {{clip_seconds: 2.0}}}}
"""
    (folder / f"{name}.yaml").write_text(text)
    return folder / f"{name}.yaml"


def publish(folder, yaml, *options):
    main = runpy.run_path(str(ROOT / "recipes" / "publish.py"))["main"]
    main([str(folder / "run"), "--repo=a/b", "--license=mit", "--data=x", f"--encoders={yaml}"])


def test_a_model_of_vectors_takes_files(trained, capsys):
    folder, arrays, samples = trained
    publish(folder, folder / "mine.yaml")
    assert "Loaded again" in capsys.readouterr().out
    bundle = folder / "run" / "bundle"
    config = json.loads((bundle / "config.json").read_text())
    assert (config["face_input"], config["voice_input"]) == ("image", "speech")
    assert config["encoders_checked"]["face"]["least_cosine"] > 0.999
    model = FaceVoiceAssociation.from_hparams(bundle)
    for name, files in (("face", samples.face), ("voice", samples.wav)):
        chosen = files.index[:4] if name == "face" else files.index[4:8]
        encode = getattr(model, f"encode_{name}_files")
        encoder = model.mods[f"{name}_encoder"]
        embeddings = encode([str(files[row]) for row in chosen])
        encoder.takes_features = True
        expected = model._embed(name, torch.from_numpy(arrays[name][list(chosen)]), 4)
        encoder.takes_features = False
        torch.testing.assert_close(embeddings, expected, atol=1e-4, rtol=1e-3)
    other = foreign_class(str(bundle), pymodule_file="custom.py", classname="FaceVoiceAssociation")
    assert torch.equal(
        other.encode_face_files(samples.face.iloc[0]), model.encode_face_files(samples.face.iloc[0])
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"mean": "[0.1, 0.9, 0.5]"}, r"clip 'c0': the face encoder makes of .* whose cosine with"),
        ({"samples": "nowhere.csv"}, r"nowhere.csv: not found"),
    ],
)
def test_another_encoder_is_refused(trained, changed, message, tmp_path):
    folder, _, _ = trained
    yaml = write_encoders(folder, "other", **changed)
    shutil.rmtree(folder / "run" / "bundle", ignore_errors=True)
    with pytest.raises(ValueError, match=message):
        publish(folder, yaml)
    assert not list((folder / "run").glob("bundle/*"))
