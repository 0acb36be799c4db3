"""The contract of a loss: what it is given, what it needs, what it returns, and when it is asked.

A method is one or several losses. Everything that the training must know of them stands in
`Loss.terms` and `Loss.needs`, so that it is checked before anything is read; everything that a step
gives them stands in a `Batch`; what one step leaves for the next stands in buffers, so that a
resumed training equals one that was never stopped.
"""

from dataclasses import dataclass, field

import torch


@dataclass(frozen=True)
class Needs:
    """What a loss asks of the corpus and of its batches.

    Arguments
    ---------
    face, voice : tuple of str
        Attributes whose classes the loss needs of every face, and of every voice: "identity",
        "video", or a column of the corpus such as "gender". A corpus without them is an error.
    optional : tuple of str
        Attributes whose classes it uses, on both modalities, where the corpus has them. Their
        absence is told in the log.
    inputs : bool
        Whether it needs what the encoders are fed, beside the embeddings.
    pairs : bool
        Whether row i must be a face and a voice of one identity. Without it any sampler will do.
    """

    face: tuple = ()
    voice: tuple = ()
    optional: tuple = ()
    inputs: bool = False
    pairs: bool = True

    def __post_init__(self):
        for name in ("face", "voice", "optional"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise ValueError(f"Needs: {name}: expected a tuple of names, write ({value!r},)")


@dataclass(frozen=True)
class Batch:
    """What a loss is given in a step: the rows of all processes together.

    Arguments
    ---------
    face, voice : torch.Tensor, shape (B, K)
        f* and v*, float32, with gradient.
    face_classes, voice_classes : dict of str to torch.Tensor of int64, shape (B,)
        Class of each face and of each voice by attribute; -1 where unknown. They are equal where
        the rows are pairs, save for what belongs to a clip, such as its video.
    face_input, voice_input : torch.Tensor, shape (B, ...), or None
        What the encoders are fed; None unless a loss needs it.
    face_clip, voice_clip : torch.Tensor of int64, shape (B,), or None
        Which training clip a row is, from 0, in the order of the manifests.
    step, num_steps : int
        Optimiser steps done so far, and in the whole training.
    generator : torch.Generator
        Source of randomness, on the CPU; a resumed training finds it in the same state.

    Example
    -------
    >>> batch = Batch(torch.eye(2), torch.eye(2), voice_classes={"identity": torch.tensor([0, 1])})
    >>> len(batch), batch.voice_classes["identity"].tolist()
    (2, [0, 1])
    """

    face: torch.Tensor
    voice: torch.Tensor
    face_classes: dict = field(default_factory=dict)
    voice_classes: dict = field(default_factory=dict)
    face_input: torch.Tensor | None = None
    voice_input: torch.Tensor | None = None
    face_clip: torch.Tensor | None = None
    voice_clip: torch.Tensor | None = None
    step: int = 0
    num_steps: int = 1
    generator: torch.Generator | None = None

    def __len__(self):
        return len(self.face)

    def classes(self, modality, attribute):
        """Returns the classes (B,) of an attribute on "face" or "voice"."""
        return (self.face_classes if modality == "face" else self.voice_classes)[attribute]


@dataclass(frozen=True)
class TrainingSet:
    """What a loss may know of the corpus when it builds its layers.

    Arguments
    ---------
    num_classes : dict of str to int
        Classes among the training clips, by attribute that some loss needs or may use. An attribute
        that the corpus lacks is missing.
    num_faces, num_voices : int
        Training clips.
    num_identities : int
        Training identities.
    batch_size : int
        Rows of a batch over all processes.
    input_dims : tuple of int or None
        Width of the precomputed vectors of the faces, and of the voices; None for images and
        speech.
    """

    num_classes: dict
    num_faces: int = 0
    num_voices: int = 0
    num_identities: int = 0
    batch_size: int = 1
    input_dims: tuple = (None, None)

    def identities_to_classify(self):
        """Returns the number of training identities; ValueError if there are fewer than two."""
        number = self.num_classes.get("identity", 0)
        if number < 2:
            raise ValueError(
                f"L_id: expected at least 2 training identities, got {number}; add identities to "
                "the training split"
            )
        return number


@dataclass(frozen=True)
class TrainingEmbeddings:
    """All training clips by the present weights, in the order of the manifests.

    Arguments
    ---------
    face, voice : torch.Tensor, shape (num_faces, K) and (num_voices, K)
        f* and v*, float32, without gradient.
    face_classes, voice_classes : dict of str to torch.Tensor of int64
        As in `Batch`, of every clip.
    """

    face: torch.Tensor
    voice: torch.Tensor
    face_classes: dict
    voice_classes: dict


class Loss(torch.nn.Module):
    """Base class of all losses.

    A subclass declares `terms` and `needs` and writes `forward`; the rest it may leave. Whatever
    must survive a checkpoint is a parameter or a buffer.

    Attributes
    ----------
    terms : tuple of str
        Names of what `forward` returns to be trained. Each has a weight in the YAML.
    needs : Needs

    Example
    -------
    >>> class Distance(Loss):
    ...     terms = ("L_distance",)
    ...     def forward(self, batch):
    ...         return {"L_distance": (batch.face - batch.voice).square().mean()}, {}
    >>> terms, monitors = Distance()(Batch(torch.ones(2, 3), torch.zeros(2, 3)))
    >>> terms["L_distance"].item()
    1.0
    """

    terms = ()
    needs = Needs()

    def check_batch_size(self, batch_size):
        """Raises ValueError, before anything is read, if batches of this size cannot be used."""

    def build(self, training_set):
        """Makes layers and buffers whose sizes only the corpus tells.

        Arguments
        ---------
        training_set : TrainingSet

        Raises
        ------
        ValueError
            If the corpus does not suffice.
        """

    def on_training_start(self, embed):
        """Is called once, before the first step; not when a training is resumed.

        Arguments
        ---------
        embed : callable
            Without arguments; returns the `TrainingEmbeddings`. It reads every training clip.
        """

    def on_epoch_start(self, epoch, embed):
        """Is called before the first step of every epoch; not when an epoch is resumed.

        Arguments
        ---------
        epoch : int
            From 1.
        embed : callable
            As for `on_training_start`.
        """

    def validate(self, embeddings, batch_size, seed):
        """Returns further values to log at every validation, and to report at the end, by name.

        Arguments
        ---------
        embeddings : evaluation.embeddings.Embeddings
            Of the validation clips; at the end also of training and of test clips.
        batch_size : int
            Rows of a training batch over all processes.
        seed : int
            That of the training.
        """
        return {}

    def forward(self, batch):
        """Returns the terms and the monitors of a batch.

        Arguments
        ---------
        batch : Batch

        Returns
        -------
        terms : dict of str to torch.Tensor, scalar
            Unweighted, with gradient; exactly those that `terms` names.
        monitors : dict of str to torch.Tensor, scalar
            Quantities to log, without gradient.
        """
        raise NotImplementedError
