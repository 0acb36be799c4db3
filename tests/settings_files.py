"""A small base, its includes and a method on it, in folders of their own, for tests of settings."""

from speechbrain_fv.settings.loading import load_hparams

READS = ("seed", "output_folder", "save_folder", "batch_size", "lr", "modules", "loss")
READS = (*READS, "loss_weights", "corpus[reader]")

BASE = """\
# The base.
seed: 7
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
output_folder: !ref results/<seed>   # of the run
save_folder: !ref <output_folder>/save
corpus: !include:parts/small.yaml
batch_size: !ref <corpus[batch_size]>

# Model
width: 4
lr: !ref <corpus[lr]>
smoothing: 0.1
first: !new:torch.nn.Linear
    in_features: !ref <corpus[size]>
    out_features: !ref <width>
loss: !new:torch.nn.CrossEntropyLoss
    label_smoothing: !ref <smoothing>
second: !new:torch.nn.Linear [!ref <width>, 2]
loss_weights: {L_a: 1.0, L_b: 0.5}
modules:
    first: !ref <first>
    second: !ref <second>
"""

PART = """\
size: {size}
batch_size: 8
lr: 1.0e-3
seconds: 2.0
unused: 5
reader: !new:torch.nn.Threshold
    threshold: !ref <seconds>
    value: 0.0
"""

METHOD = """\
# The method.
#   how to start it
--- !include:../shipped/train.yaml
lr: 0.5
margin: 0.25   # new
loss: !new:torch.nn.MarginRankingLoss {margin: !ref <margin>}
loss_weights: {L_b: 0.0, L_c: 2.0}
extra: !new:torch.nn.Linear [!ref <width>, 3]
modules: {extra: !ref <extra>}
last: !ref <margin> * 2
"""

# METHOD with its base, as one would write it by hand.
WHOLE = """\
seed: 7
__set_seed: !apply:speechbrain.utils.seed_everything [!ref <seed>]
output_folder: !ref results/<seed>
save_folder: !ref <output_folder>/save
corpus: !include:parts/small.yaml
batch_size: !ref <corpus[batch_size]>
width: 4
lr: 0.5
smoothing: 0.1
first: !new:torch.nn.Linear
    in_features: !ref <corpus[size]>
    out_features: !ref <width>
margin: 0.25
loss: !new:torch.nn.MarginRankingLoss
    margin: !ref <margin>
second: !new:torch.nn.Linear [!ref <width>, 2]
loss_weights: {L_a: 1.0, L_b: 0.0, L_c: 2.0}
extra: !new:torch.nn.Linear [!ref <width>, 3]
modules:
    first: !ref <first>
    second: !ref <second>
    extra: !ref <extra>
last: !ref <margin> * 2
"""


def write_files(folder):
    """Writes shipped/train.yaml, shipped/parts/{small,large}.yaml and user/method.yaml."""
    texts = {
        "shipped/train.yaml": BASE,
        "shipped/whole.yaml": WHOLE,
        "shipped/parts/small.yaml": PART.format(size=3),
        "shipped/parts/large.yaml": PART.format(size=5),
        "user/method.yaml": METHOD,
    }
    for name, text in texts.items():
        write(folder, name, text)
    return folder


def write(folder, name, text):
    """Writes a text; returns the file's path as a command line has it."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return str(path)


def load(path, *overrides, reads=(*READS, "last")):
    """Returns the objects and the text that a command line makes."""
    _, hparams, text = load_hparams([str(path), *overrides], reads)
    return hparams, text
