"""Weights are all there, and nothing else, or the load is an error."""

import io
import pickle
import struct
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from speechbrain_fv.bundles.weights import check_weights, load_weights, save_weights


def modules(seed=0):
    torch.manual_seed(seed)
    layers = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3))
    return {"encoder": layers, "block": torch.nn.Linear(3, 3)}


@pytest.fixture
def path(tmp_path):
    save_weights(modules(), tmp_path / "model.safetensors")
    return tmp_path / "model.safetensors"


def test_a_round_trip_keeps_every_bit_of_weights_and_buffers(path):
    saved = modules()
    saved["encoder"](torch.randn(8, 4))  # moves the BatchNorm's statistics
    save_weights(saved, path)
    other = modules(seed=1)
    load_weights(other, path)
    for name, module in saved.items():
        for key, value in module.state_dict().items():
            assert torch.equal(value, other[name].state_dict()[key])


def rewrite(path, change):
    state = load_file(path)
    change(state)
    save_file(state, path)


CHANGES = {
    "missing \\['block.bias'\\]": lambda state: state.pop("block.bias"),
    "extra \\['block.more'\\]": lambda state: state.update({"block.more": torch.ones(1)}),
    "block.bias has the shape \\(2,\\)": lambda state: state.update({"block.bias": torch.ones(2)}),
    "block.bias is torch.float64": lambda state: state.update(
        {"block.bias": torch.ones(3).double()}
    ),
    "block.bias holds NaN": lambda state: state["block.bias"].fill_(float("nan")),
}


@pytest.mark.parametrize("message", CHANGES)
def test_weights_of_another_model_are_refused(path, message):
    rewrite(path, CHANGES[message])
    with pytest.raises(ValueError, match=f"model.safetensors.*{message}"):
        load_weights(modules(), path)


class Hostile:
    """Makes a file when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return open, (str(self.mark), "w")


def as_torch_file(mark):
    buffer = io.BytesIO()
    torch.save({"block.bias": Hostile(mark)}, buffer)
    return buffer.getvalue()


def archive_bomb(mark):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("data.pkl", bytes(200_000_000))
    return buffer.getvalue()


FILES = {
    "pickle": lambda mark: pickle.dumps(Hostile(mark)),
    "torch file": as_torch_file,
    "archive bomb": archive_bomb,
    "empty": lambda mark: b"",
    "text": lambda mark: b"version https://git-lfs.github.com/spec/v1",
    "header beyond the file": lambda mark: struct.pack("<Q", 2**62) + b"{}",
    "header that is no JSON": lambda mark: struct.pack("<Q", 8) + b"notajson",
    "offsets beyond the file": lambda mark: (
        lambda header: struct.pack("<Q", len(header)) + header
    )(b'{"block.bias":{"dtype":"F32","shape":[3],"data_offsets":[0,1200000000]}}'),
}


@pytest.mark.parametrize("kind", FILES)
def test_files_that_pose_as_weights_are_refused_unread(kind, path, tmp_path):
    path.write_bytes(FILES[kind](tmp_path / "mark"))
    for load in (check_weights, load_weights):
        with pytest.raises(ValueError, match=r"model\.safetensors: not a readable safetensors"):
            load(modules(), path)
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
def test_truncated_weights_are_refused(path, share):
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match="not a readable safetensors"):
        load_weights(modules(), path)


def test_a_header_that_would_fill_the_memory_is_refused_unread(path):
    """A million names of nothing: a gigabyte once read."""
    header = b"{" + b" " * 4_100_000 + b"}"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    for load in (check_weights, load_weights):
        with pytest.raises(ValueError, match=r"its header has 4,100,002 bytes, expected at most"):
            load(modules(), path)


def test_names_of_any_length_are_one_short_line(path):
    rewrite(path, lambda state: state.update({"x\x1b\n" * 100_000: torch.ones(1)}))
    with pytest.raises(ValueError, match="extra") as refusal:
        load_weights(modules(), path)
    assert len(str(refusal.value)) < 1000 and str(refusal.value).isprintable()


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "model.safetensors", tmp_path):
        with pytest.raises(ValueError, match="not a readable safetensors"):
            load_weights(modules(), path)


def test_modules_whose_weights_have_no_shape_yet_are_refused(path):
    """Their weights would be made of whatever comes first, or never."""
    with pytest.raises(
        ValueError, match=r"model\.safetensors: layer\.weight: expected a weight whose shape"
    ):
        load_weights({"layer": torch.nn.LazyLinear(3)}, path)
