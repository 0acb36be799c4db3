"""Losses around another loss: under other names, or on some columns of the embeddings."""

from dataclasses import replace

from speechbrain_fv.losses.base import Loss


class WrappedLoss(Loss):
    """A loss that asks for and does what the one inside it does, unless a subclass says otherwise.

    Arguments
    ---------
    loss : Loss
    """

    def __init__(self, loss):
        super().__init__()
        self.loss = loss
        self.terms = loss.terms

    @property
    def needs(self):
        """The `Needs` of the loss inside."""
        return self.loss.needs

    def check_batch_size(self, batch_size):
        """Passes the question on."""
        self.loss.check_batch_size(batch_size)

    def build(self, training_set):
        """Passes the corpus on."""
        self.loss.build(training_set)

    def on_training_start(self, embed):
        """Passes the moment on."""
        self.loss.on_training_start(embed)

    def on_epoch_start(self, epoch, embed):
        """Passes the moment on."""
        self.loss.on_epoch_start(epoch, embed)

    def validate(self, embeddings, batch_size, seed):
        """Returns the values of the loss inside."""
        return self.loss.validate(embeddings, batch_size, seed)

    def forward(self, batch):
        """Returns terms and monitors of the loss inside."""
        return self.loss(batch)


class Renamed(WrappedLoss):
    """A loss whose terms and monitors have other names, so that two of one family stand together.

    Arguments
    ---------
    loss : Loss
    names : dict of str to str
        Present name -> new name, of terms and of monitors; the others keep theirs.

    Raises
    ------
    ValueError
        If the new names of two terms are equal.

    Example
    -------
    >>> from speechbrain_fv.losses import InfoNCELoss
    >>> Renamed(InfoNCELoss(temperature=1.0), {"L_NCE": "L_warm"}).terms
    ('L_warm',)
    """

    def __init__(self, loss, names):
        super().__init__(loss)
        self.names = dict(names)
        self.terms = tuple(self._new(name) for name in loss.terms)
        if len(set(self.terms)) < len(self.terms):
            raise ValueError(f"names: expected one name for each term, got {self.terms}")

    def _new(self, name):
        return self.names.get(name, name)

    def validate(self, embeddings, batch_size, seed):
        """Returns the values of the loss inside under the new names."""
        values = self.loss.validate(embeddings, batch_size, seed)
        return {self._new(name): value for name, value in values.items()}

    def forward(self, batch):
        """Returns terms and monitors of the loss inside under the new names."""
        return tuple(
            {self._new(name): value for name, value in values.items()}
            for values in self.loss(batch)
        )


class OnPart(WrappedLoss):
    """A loss that sees the columns ``start`` to ``start + width`` of the embeddings alone.

    With `encoders.SideBySide` as the block that both modalities share, every part of an embedding
    is a model of its own, and the cosine of whole embeddings is the mean of theirs.

    Arguments
    ---------
    loss : Loss
        The loss, made for embeddings of this width.
    start, width : int
        The first column, from 0, and the number of columns.

    Raises
    ------
    ValueError
        If the part is empty, or, in training, lies outside the embeddings.

    Example
    -------
    >>> import torch
    >>> from speechbrain_fv.losses import Batch, EmbeddingNormLoss
    >>> loss = OnPart(EmbeddingNormLoss(), start=1, width=2)
    >>> loss(Batch(torch.ones(3, 4), torch.zeros(3, 4)))[0]["L_norm"]
    tensor(2.)
    """

    def __init__(self, loss, start, width):
        super().__init__(loss)
        if start < 0 or width < 1:
            raise ValueError(
                f"part: expected a start from 0 and a width of at least 1, got {start} and {width}"
            )
        self.start, self.width = start, width

    def _part(self, of):
        """Returns a copy of what has `face` and `voice` embeddings, with these columns alone."""
        end = self.start + self.width
        if end > of.face.shape[1]:
            raise ValueError(
                f"part: expected columns {self.start} to {end} of the embeddings, which are "
                f"{of.face.shape[1]} wide; raise embedding_dim"
            )
        return replace(of, face=of.face[:, self.start : end], voice=of.voice[:, self.start : end])

    def on_training_start(self, embed):
        """Passes the moment on, with these columns."""
        self.loss.on_training_start(lambda: self._part(embed()))

    def on_epoch_start(self, epoch, embed):
        """Passes the moment on, with these columns."""
        self.loss.on_epoch_start(epoch, lambda: self._part(embed()))

    def validate(self, embeddings, batch_size, seed):
        """Returns the values of the loss inside, of its columns."""
        return self.loss.validate(self._part(embeddings), batch_size, seed)

    def forward(self, batch):
        """Returns terms and monitors of the loss inside, of its columns."""
        return self.loss(self._part(batch))
