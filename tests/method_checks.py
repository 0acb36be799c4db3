"""What every method must pass, on inputs coded by identity: a one-hot of the person + noise.

A method is a `Loss`, how it pairs clips, and how it compares a face with a voice. Two linear heads
stand for the encoders, trained in a plain loop: what is tested is the loss and nothing else.
"""

import math

import torch
from sklearn.metrics import roc_auc_score

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses import Batch, TrainingEmbeddings, TrainingSet

NUM_PEOPLE = 60
CLIPS_EACH = 4  # of each modality; clip c of a person is of its video c
NOISE = 0.05  # standard deviation on every input: its length is 0.39, that of the code 1
WIDTH = 16  # K, fewer than people
CHANCE = (0.4, 0.6)  # AUC of 60 faces and voices without relation: a deviation of about 0.03


def cosine(face, voice):
    """The similarity (N,) of rows; `score` of `trained_auc`."""
    return torch.cosine_similarity(face, voice, dim=1)


def inner_product(face, voice):
    """The inner product (N,) of rows."""
    return (face * voice).sum(dim=1)


def negative_l2(face, voice):
    """Minus the distance (N,) of rows that are not normalised."""
    return -(face - voice).norm(dim=1)


def classes_of(people, clips):
    """The classes of clips by attribute, as a loss is given them."""
    return {
        "identity": people,
        "gender": people % 2,
        "nationality": people % 5,
        "video": people * CLIPS_EACH + clips,
    }


def coded_inputs(people, generator, noise=NOISE):
    """One-hots (N, people) of people with noise."""
    codes = torch.nn.functional.one_hot(people, NUM_PEOPLE).float()
    return codes + noise * torch.randn(codes.shape, generator=generator)


class CodedClips:
    """Training clips of people, with batches of them.

    Arguments
    ---------
    generator : torch.Generator
        Source of all randomness.
    sampling : str
        "pairs": distinct people, a face and a voice clip of each; "videos": both of one video;
        "clips": faces and voices drawn independently.
    clips_per_identity : int
        Pairs of every person in a batch of "pairs".
    shuffled : bool
        Whether every voice is that of a person drawn at random, under the label it had: the
        control, which no method may solve.
    """

    def __init__(self, generator, sampling="pairs", clips_per_identity=1, shuffled=False):
        self.generator, self.sampling, self.shuffled = generator, sampling, shuffled
        self.clips_per_identity = clips_per_identity
        self.people = torch.arange(NUM_PEOPLE).repeat_interleave(CLIPS_EACH)
        self.clips = torch.arange(CLIPS_EACH).repeat(NUM_PEOPLE)
        self.inputs = [coded_inputs(self.people, generator) for _ in range(2)]

    def _draw(self, high, size):
        return torch.randint(high, (size,), generator=self.generator)

    def rows(self, batch_size):
        """The clips of a batch: faces, voices, whose inputs the voices have; each (B,)."""
        num_people = batch_size // self.clips_per_identity
        if self.sampling == "clips":
            face, voice = (self._draw(len(self.people), batch_size) for _ in range(2))
        elif self.sampling == "videos":
            face = voice = torch.randperm(len(self.people), generator=self.generator)[:batch_size]
        else:
            people = torch.randperm(NUM_PEOPLE, generator=self.generator)[:num_people]
            people = people.repeat_interleave(self.clips_per_identity)
            face, voice = (
                people * CLIPS_EACH + self._draw(CLIPS_EACH, len(people)) for _ in range(2)
            )
        heard = self._draw(len(self.people), len(voice)) if self.shuffled else voice
        return face, voice, heard

    def training_set(self, batch_size):
        """What a loss is told of these clips."""
        counts = {name: int(c.max()) + 1 for name, c in self.classes().items()}
        num_clips = len(self.people)
        return TrainingSet(
            counts, num_clips, num_clips, NUM_PEOPLE, batch_size, (NUM_PEOPLE, NUM_PEOPLE)
        )

    def classes(self, rows=slice(None)):
        """The classes of some clips."""
        return classes_of(self.people[rows], self.clips[rows])


def trained_auc(loss, weights=None, score=cosine, **options):
    """Trains two linear heads by a loss and returns the cross-modal AUC on new noise draws.

    Arguments
    ---------
    loss : Loss
    weights : dict of str to float, optional
    score : callable
        Faces (N, K) and voices (N, K) to similarities (N,).
    **options
        As in `trained_heads`.
    """
    heads, generator = trained_heads(loss, weights, **options)
    return held_out_auc(heads, score, generator)


def trained_heads(
    loss,
    weights=None,
    sampling="pairs",
    clips_per_identity=1,
    shuffled=False,
    num_steps=200,
    batch_size=48,
    lr=0.02,
    width=WIDTH,
    num_epochs=4,
    seed=0,
):
    """Trains two linear heads by a loss and returns them, with the generator as they left it.

    Arguments
    ---------
    loss : Loss
        Freshly made, for embeddings of `width`; it is built and trained here.
    weights : dict of str to float, optional
        Weight of every term; 1 by default.
    sampling, clips_per_identity, shuffled
        As in `CodedClips`.
    num_steps, batch_size, lr, num_epochs
        Budget of the training with Adam.
    """
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)  # the layers that the loss builds, and its dropout
    data = CodedClips(generator, sampling, clips_per_identity, shuffled)
    loss.build(data.training_set(batch_size))
    heads = [torch.nn.Linear(NUM_PEOPLE, width) for _ in range(2)]
    parameters = [p for module in (loss, *heads) for p in module.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=lr)

    @torch.no_grad()
    def embed():
        faces, voices = (head(inputs) for head, inputs in zip(heads, data.inputs, strict=True))
        return TrainingEmbeddings(faces, voices, data.classes(), data.classes())

    loss.train()
    loss.on_training_start(embed)
    for step in range(num_steps):
        epoch, first = divmod(step, math.ceil(num_steps / num_epochs))
        if first == 0:
            loss.on_epoch_start(epoch + 1, embed)
        face_rows, voice_rows, heard_rows = data.rows(batch_size)
        inputs = data.inputs[0][face_rows], data.inputs[1][heard_rows]
        batch = Batch(
            *(head(rows) for head, rows in zip(heads, inputs, strict=True)),
            data.classes(face_rows),
            data.classes(voice_rows),
            *inputs,
            face_rows,
            voice_rows,
            step,
            num_steps,
            generator,
        )
        terms, _ = loss(batch)
        assert set(terms) == set(loss.terms)
        total = sum((weights or {}).get(name, 1.0) * term for name, term in terms.items())
        assert torch.isfinite(total), f"{terms} at step {step}"
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
    return heads, generator


@torch.no_grad()
def held_out_auc(heads, score, generator):
    """The AUC of all faces with all voices, of new noise draws."""
    people = torch.arange(NUM_PEOPLE).repeat(2)
    faces, voices = (head(coded_inputs(people, generator)) for head in heads)
    num = len(people)
    same = people.repeat_interleave(num) == people.repeat(num)
    scores = score(faces.repeat_interleave(num, dim=0), voices.repeat(num, 1))
    return roc_auc_score(same.numpy(), scores.numpy())


def finite_step(loss, face, voice, classes, **more):
    """Runs a loss forward and back and asserts that all is finite; returns terms and gradients.

    Arguments
    ---------
    loss : Loss
        Built.
    face, voice : torch.Tensor, shape (B, K)
    classes : dict of str to torch.Tensor
        Classes of both modalities, and more of a `Batch` as further arguments.

    Returns
    -------
    terms : dict of str to float
    gradients : tuple of torch.Tensor
        Of the faces and of the voices; zeros where there is none.
    """
    rows = [face.clone().requires_grad_(), voice.clone().requires_grad_()]
    num = torch.arange(len(face))
    more = {"face_clip": num, "voice_clip": num, **more}
    generator = torch.Generator().manual_seed(0)
    terms, monitors = loss(Batch(*rows, classes, classes, generator=generator, **more))
    loss.zero_grad()
    total = sum(terms.values())
    if total.requires_grad:
        total.backward()
    gradients = tuple(torch.zeros_like(x) if x.grad is None else x.grad for x in rows)
    trained = [p.grad for p in loss.parameters() if p.grad is not None]
    for value in (*terms.values(), *monitors.values(), *gradients, *trained):
        assert torch.isfinite(value).all(), (terms, monitors)
    return {name: term.item() for name, term in terms.items()}, gradients


def special_batches(num_rows=6, width=4):
    """Batches that a loss must survive: name, faces, voices and classes of each."""
    generator = torch.Generator().manual_seed(1)
    face, voice = torch.randn(2, num_rows, width, generator=generator)
    rows = torch.arange(num_rows)
    distinct = {name: rows for name in ("identity", "video")}
    distinct |= {"gender": rows % 2, "nationality": rows % 2}
    one = {name: torch.zeros_like(rows) for name in distinct}
    unknown = {name: torch.full_like(rows, UNKNOWN) for name in distinct}
    ones = torch.ones_like(face)
    return {
        "constant inputs": (ones, ones, distinct),
        "zero inputs": (0 * ones, 0 * ones, distinct),
        "one identity": (face, voice, one),
        "one identity, constant inputs": (ones, ones, one),
        "unknown classes": (face, voice, unknown),
        "far apart": (1e4 * face, -1e4 * face, distinct),
        "a single row": (face[:1], voice[:1], {name: c[:1] for name, c in distinct.items()}),
    }
