"""What a method trains: its losses side by side, and the weights of their terms."""

import torch


class Objective(torch.nn.ModuleDict):
    """Runs several losses on the same batch and gathers their terms by name.

    Arguments
    ---------
    losses : dict of str to torch.nn.Module
        The losses, by any name.

    Example
    -------
    >>> from speechbrain_fv.losses import IdentityLoss
    >>> objective = Objective({"identity": IdentityLoss(embedding_dim=4)})
    >>> objective.set_classes({"identity": 2})
    >>> targets = {"identity": torch.tensor([0, 1])}
    >>> terms, monitors = objective(torch.randn(2, 4), torch.randn(2, 4), targets, None)
    >>> list(terms)
    ['L_id']
    """

    def __init__(self, losses):
        super().__init__(losses)

    def set_classes(self, num_classes):
        """Passes the number of classes per attribute to every loss that classifies."""
        for loss in self.values():
            if hasattr(loss, "set_classes"):
                loss.set_classes(num_classes)

    def check_batch_size(self, batch_size):
        """Raises ValueError, before anything is read, if a loss cannot use batches of this size."""
        for loss in self.values():
            if hasattr(loss, "check_batch_size"):
                loss.check_batch_size(batch_size)

    def forward(self, face, voice, targets, generator):
        """Returns all terms and all monitors of a batch of pairs.

        Arguments
        ---------
        face, voice : torch.Tensor, shape (B, K)
            f* and v*, pair by pair.
        targets : dict of str to torch.Tensor of int64, shape (B,)
            Class index per attribute, -1 where unknown.
        generator : torch.Generator
            Source of randomness, on the CPU.

        Returns
        -------
        terms : dict of str to torch.Tensor, scalar
            Unweighted terms, with gradient.
        monitors : dict of str to torch.Tensor, scalar
            Quantities to log, without gradient.
        """
        terms, monitors = {}, {}
        for loss in self.values():
            new_terms, new_monitors = loss(face, voice, targets, generator)
            terms.update(new_terms)
            monitors.update(new_monitors)
        return terms, monitors


class LossWeights:
    """The weighted sum of an objective's terms (Bi-Pcm, Eq. 11), with a ramp for some of them.

    From random encoders K-means labels structureless features, and a large gamma1 keeps the network
    there. So the terms named in `ramped` have weight zero for `warmup_steps` optimiser steps and
    then grow linearly to their full weight over `ramp_steps`.

    Arguments
    ---------
    weights : dict of str to float
        Full weight of every term, by its name.
    ramped : sequence of str
        The terms that start late.
    warmup_steps, ramp_steps : int
        Optimiser steps at weight zero, and steps from there to the full weight; 0 and 0 is the
        paper's.

    Example
    -------
    >>> weights = LossWeights({"a": 2.0, "b": 1.0}, ramped=["a"], warmup_steps=10, ramp_steps=10)
    >>> [weights.at(step)["a"] for step in (0, 10, 15, 20, 99)]
    [0.0, 0.0, 1.0, 2.0, 2.0]
    """

    def __init__(self, weights, ramped=(), warmup_steps=0, ramp_steps=0):
        unknown = [name for name in ramped if name not in weights]
        if unknown:
            raise ValueError(f"ramped: no weight is given for {unknown}; got {list(weights)}")
        self.weights = dict(weights)
        self.ramped = tuple(ramped)
        self.warmup_steps = warmup_steps
        self.ramp_steps = ramp_steps

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
            If a term has no weight or a weight no term: a misspelt name would train another method.
        """
        if set(terms) != set(self.weights):
            raise ValueError(
                f"loss weights: expected one per term, terms are {sorted(terms)}, "
                f"weights are for {sorted(self.weights)}; name the same ones in the YAML"
            )
        weights = self.at(step)
        # A term of weight zero is left out: its gradient, finite or not, plays no part.
        return sum(weights[name] * term for name, term in terms.items() if weights[name])
