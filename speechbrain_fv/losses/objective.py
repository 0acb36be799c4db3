"""What a method trains: its losses side by side, and the weights of their terms."""

import math

import torch

from speechbrain_fv.losses.base import Loss


class Objective(torch.nn.ModuleDict):
    """Runs several losses on the same batch and gathers their terms by name.

    Arguments
    ---------
    losses : dict of str to Loss
        The losses, by any name.

    Raises
    ------
    ValueError
        If one is no `Loss`, or two have a term of one name.

    Example
    -------
    >>> from speechbrain_fv.losses import Batch, IdentityLoss, TrainingSet
    >>> objective = Objective({"identity": IdentityLoss(embedding_dim=4)})
    >>> objective.build(TrainingSet({"identity": 2}))
    >>> label = {"identity": torch.tensor([0, 1])}
    >>> terms, monitors = objective(Batch(torch.randn(2, 4), torch.randn(2, 4), label, label))
    >>> list(terms)
    ['L_id']
    """

    def __init__(self, losses):
        owner = {}
        for name, loss in _mapping("losses", losses, "a loss").items():
            if not isinstance(loss, Loss):
                raise ValueError(
                    f"losses: {name}: expected a subclass of speechbrain_fv.losses.Loss, got "
                    f"{type(loss).__name__}{_which_loss(loss, losses)}"
                )
            if isinstance(loss.terms, str):
                raise ValueError(
                    f"losses: {name}: terms: expected a tuple of names, got a text; write "
                    f"({loss.terms!r},)"
                )
            for term in loss.terms:
                if term in owner:
                    raise ValueError(
                        f"losses: {owner[term]} and {name} have both a term {term}; rename one "
                        "with speechbrain_fv.losses.Renamed"
                    )
                owner[term] = name
        super().__init__(losses)

    @property
    def terms(self):
        """The names of all terms, in the order of the losses."""
        return [term for loss in self.values() for term in loss.terms]

    @property
    def needs_inputs(self):
        """Whether a loss needs what the encoders are fed."""
        return any(loss.needs.inputs for loss in self.values())

    @property
    def needs_pairs(self):
        """The names of the losses that take only pairs of one identity."""
        return [name for name, loss in self.items() if loss.needs.pairs]

    def attributes(self, modality=None):
        """Returns the attributes that are needed or may be used, each once.

        Arguments
        ---------
        modality : str, optional
            "face" or "voice"; by default of either.
        """
        names = []
        for loss in self.values():
            for side in (modality,) if modality else ("face", "voice"):
                names += (*getattr(loss.needs, side), *loss.needs.optional)
        return list(dict.fromkeys(names))

    def needing(self, attribute):
        """Returns the names of the losses that cannot do without an attribute."""
        return [
            name
            for name, loss in self.items()
            if attribute in (*loss.needs.face, *loss.needs.voice)
        ]

    def check_batch_size(self, batch_size):
        """Raises ValueError, before anything is read, if a loss cannot use batches of this size."""
        for loss in self.values():
            loss.check_batch_size(batch_size)

    def build(self, training_set):
        """Lets every loss make what depends on the corpus, a `TrainingSet`."""
        for loss in self.values():
            loss.build(training_set)

    def on_training_start(self, embed):
        """Tells every loss that the training begins; see `Loss.on_training_start`."""
        for loss in self.values():
            loss.on_training_start(embed)

    def on_epoch_start(self, epoch, embed):
        """Tells every loss that an epoch begins; see `Loss.on_epoch_start`."""
        for loss in self.values():
            loss.on_epoch_start(epoch, embed)

    def validate(self, embeddings, batch_size, seed):
        """Returns what the losses log at a validation, by name; see `Loss.validate`."""
        values = {}
        for loss in self.values():
            values |= loss.validate(embeddings, batch_size, seed)
        return values

    def forward(self, batch):
        """Returns all terms and all monitors of a batch.

        Arguments
        ---------
        batch : Batch

        Returns
        -------
        terms : dict of str to torch.Tensor, scalar
            Unweighted terms, with gradient.
        monitors : dict of str to torch.Tensor, scalar
            Quantities to log, without gradient.

        Raises
        ------
        ValueError
            If a loss returns other terms than it declares, or a name is used twice.
        """
        terms, monitors = {}, {}
        for name, loss in self.items():
            new_terms, new_monitors = _returned(name, loss(batch))
            if set(new_terms) != set(loss.terms):
                raise ValueError(
                    f"losses: {name}: expected the terms {list(loss.terms)} that it declares, got "
                    f"{list(new_terms)}"
                )
            for term, value in new_terms.items():
                if not isinstance(value, torch.Tensor) or value.ndim:
                    got = getattr(value, "shape", type(value).__name__)
                    raise ValueError(f"losses: {name}: {term}: expected a scalar tensor, got {got}")
            terms.update(new_terms)
            twice = sorted(set(new_monitors) & (set(monitors) | set(self.terms)))
            if twice:
                raise ValueError(
                    f"losses: {name}: its monitor {twice[0]} has the name of another value; rename "
                    "it with speechbrain_fv.losses.Renamed"
                )
            monitors.update(new_monitors)
        return terms, monitors


def _mapping(key, value, of):
    """Returns a mapping itself; ValueError for another kind of value of a key."""
    if not isinstance(value, dict):
        raise ValueError(
            f"{key}: expected a mapping of names, as {{name: {of}}}, got {type(value).__name__}"
        )
    return value


def _which_loss(loss, losses):
    """Returns the remedy where a plain mapping stands for a loss: it names none of the base's."""
    if not isinstance(loss, dict):
        return ""
    names = [name for name, other in losses.items() if isinstance(other, Loss)]
    return f"; a plain mapping changes a loss of that name, and there are {', '.join(names)}"


def _returned(name, values):
    """Returns what a loss has returned; ValueError unless it is terms and monitors."""
    if (
        isinstance(values, tuple)
        and len(values) == 2
        and all(isinstance(value, dict) for value in values)
    ):
        return values
    raise ValueError(
        f"losses: {name}: expected forward to return two dicts, the terms and the monitors, got "
        f"{type(values).__name__}"
    )


class LossWeights:
    """The weighted sum of an objective's terms (Bi-Pcm, Eq. 11), with a ramp for some of them.

    From random encoders K-means labels structureless features, and a large gamma1 keeps the network
    there. So the terms named in `ramped` have weight zero for `warmup_steps` optimiser steps and
    then grow linearly to their full weight over `ramp_steps`.

    Arguments
    ---------
    weights : dict of str to float
        Full weight of every term, by its name; finite.
    ramped : sequence of str
        The terms that start late.
    warmup_steps, ramp_steps : int
        Optimiser steps at weight zero, and steps from there to the full weight; 0 and 0 is the
        paper's.

    Raises
    ------
    ValueError
        If a weight is no finite number, or a ramped term has none.

    Example
    -------
    >>> weights = LossWeights({"a": 2.0, "b": 1.0}, ramped=["a"], warmup_steps=10, ramp_steps=10)
    >>> [weights.at(step)["a"] for step in (0, 10, 15, 20, 99)]
    [0.0, 0.0, 1.0, 2.0, 2.0]
    """

    def __init__(self, weights, ramped=(), warmup_steps=0, ramp_steps=0):
        for name, weight in _mapping("weights", weights, "1.0").items():
            number = isinstance(weight, int | float) and not isinstance(weight, bool)
            if not number or not math.isfinite(weight):
                raise ValueError(f"weights: {name}: expected a finite number, got {weight!r}")
        unknown = [name for name in ramped if name not in weights]
        if unknown:
            raise ValueError(f"ramped: no weight is given for {unknown}; got {list(weights)}")
        self.weights = dict(weights)
        self.ramped = tuple(ramped)
        self.warmup_steps = warmup_steps
        self.ramp_steps = ramp_steps

    def check(self, terms):
        """Raises ValueError for a term without a weight, or a weight without a term.

        A misspelt name would train another method. All weights 0 would train nothing.

        Arguments
        ---------
        terms : iterable of str
            Names of the objective's terms.
        """
        if set(terms) != set(self.weights):
            without_weight = sorted(set(terms) - set(self.weights))
            without_term = sorted(set(self.weights) - set(terms))
            raise ValueError(
                f"loss weights: expected one per term, terms are {sorted(terms)}, weights are for "
                f"{sorted(self.weights)}"
                + (f"; give {without_weight[0]} a weight" if without_weight else "")
                + (f"; no loss has a term {without_term[0]}" if without_term else "")
            )
        if self.weights and not any(self.weights.values()):
            raise ValueError("loss weights: expected one that is not 0, got 0 for every term")

    def at(self, step):
        """Returns every term's weight at an optimiser step counted from 0."""
        if step < self.warmup_steps:
            share = 0.0
        elif self.ramp_steps:
            share = min(1.0, (step - self.warmup_steps) / self.ramp_steps)
        else:
            share = 1.0
        return {
            name: weight * share if name in self.ramped else weight
            for name, weight in self.weights.items()
        }

    def __call__(self, terms, step):
        """Returns the weighted sum of the terms at an optimiser step.

        Arguments
        ---------
        terms : dict of str to torch.Tensor, scalar
            Unweighted terms.
        step : int
            Optimiser steps done so far.

        Returns
        -------
        loss : torch.Tensor, scalar

        Raises
        ------
        ValueError
            If a term has no weight or a weight no term.
        """
        self.check(terms)
        weights = self.at(step)
        # A term of weight zero is left out: its gradient, finite or not, plays no part.
        return sum(weights[name] * term for name, term in terms.items() if weights[name])
