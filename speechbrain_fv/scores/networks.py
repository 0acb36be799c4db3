"""Scores by a network: of one pair, or of the candidates of a probe."""

import torch

from speechbrain_fv.scores.base import Score


class PairScore(Score):
    """A score by a network that takes a face and a voice: it does every task.

    A subclass states ``forward(face, voice)``, which returns scores (N,) of embeddings (N, dim).
    It may be called with float64.
    """

    def forward(self, face, voice):
        """Returns the scores (N,) of face and voice embeddings (N, dim), row by row."""
        raise NotImplementedError


class PairNetwork(PairScore):
    """A network on the face embedding followed by the voice embedding.

    Arguments
    ---------
    network : torch.nn.Module
        Takes (N, 2 dim), returns (N,) or (N, 1); higher means the same person.
    directions : sequence of str, optional
        See `Score`.

    Example
    -------
    >>> PairNetwork(torch.nn.Linear(4, 1))(torch.ones(3, 2), torch.ones(3, 2)).shape
    torch.Size([3])
    """

    def __init__(self, network, directions=None):
        super().__init__(directions)
        self.network = network

    def forward(self, face, voice):
        """Returns the scores (N,) of face and voice embeddings (N, dim), row by row."""
        scores = self.network(torch.cat([face, voice], dim=1))
        return scores.squeeze(1) if scores.ndim == 2 else scores


class CandidateScore(Score):
    """A score by a network that ranks candidates for a probe: it does 1:N for its own N alone.

    A subclass states ``forward(probe, candidates, direction)``, which returns scores (B, N) of a
    probe (B, dim) and its candidates (B, N, dim). It may be called with float64.

    Arguments
    ---------
    num_candidates : int
        N, at least 2.
    directions : sequence of str, optional
        See `Score`.

    Attributes
    ----------
    max_trials : int
        An evaluation takes all trials of a stratum up to this number, else a sample of about so
        many.
    """

    max_trials = 2**18

    def __init__(self, num_candidates=2, directions=None):
        super().__init__(directions)
        if type(num_candidates) is not int or num_candidates < 2:
            raise ValueError(
                f"num_candidates: expected an integer of at least 2, got {num_candidates!r}"
            )
        self.num_candidates = num_candidates

    def forward(self, probe, candidates, direction):
        """Returns the scores (B, N) of the candidates (B, N, dim) of each probe (B, dim)."""
        raise NotImplementedError

    def unable(self, task, direction=None, num_candidates=None):
        """Returns why the score cannot do a task, or None where it can; see `Score.unable`."""
        ranks = f"{self.name} ranks {self.num_candidates} candidates"
        if task == "verification":
            return f"{ranks} and gives one pair no score"
        if task == "retrieval":
            return f"{ranks}, not a whole gallery"
        if num_candidates not in (None, self.num_candidates):
            return f"{ranks}, no other number"
        return super().unable(task, direction, num_candidates)

    @torch.no_grad()
    def rank(self, probe, candidates, direction):
        """Returns the scores of candidates of a `frozen` score.

        Arguments
        ---------
        probe : torch.Tensor of shape (num_trials, dim)
        candidates : torch.Tensor of shape (num_trials, num_candidates, dim)
        direction : str
            One of `DIRECTIONS`.

        Returns
        -------
        torch.Tensor of shape (num_trials, num_candidates), float64
        """
        shape = tuple(candidates.shape[:2])
        return self._called(shape, probe.double(), candidates.double(), direction)


class CandidateNetwork(CandidateScore):
    """A network on the probe's embedding followed by those of its candidates.

    Arguments
    ---------
    network : torch.nn.Module
        Takes (B, (1 + N) dim), returns (B, N).
    num_candidates : int
        N.
    directions : sequence of str, optional
        Those that the network was trained in; see `Score`.

    Example
    -------
    >>> score = CandidateNetwork(torch.nn.Linear(6, 2), directions=["V-F"])
    >>> score(torch.ones(5, 2), torch.ones(5, 2, 2), "V-F").shape
    torch.Size([5, 2])
    """

    def __init__(self, network, num_candidates=2, directions=None):
        super().__init__(num_candidates, directions)
        self.network = network

    def forward(self, probe, candidates, direction):
        """Returns the scores (B, N) of the candidates (B, N, dim) of each probe (B, dim)."""
        return self.network(torch.cat([probe, candidates.flatten(1)], dim=1))


class TripleClassifier(CandidateNetwork):
    """The head of SVHF: which of the candidates is the person of the probe.

    The embeddings of the candidates, in their order, and then that of the probe are one vector,
    which goes through layers of width K, K / 2 and N with ReLU between them (Nagrani et al.,
    "Seeing Voices and Hearing Faces", CVPR 2018: 3 x 1024 -> 1024 -> 512 -> 2, found in two public
    ports). It is a classifier of places: another order of the candidates need not give the scores
    in the other order, and equal candidates need not have equal scores, unless `every_order`.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    num_candidates : int
        N. For N above 2 the paper concatenates too, as far as memory allows.
    directions : sequence of str, optional
        Those that it is trained in; the paper trains one model for each. See `Score`.
    every_order : bool
        Whether the scores are the mean over the N rotations of the candidates, each turned back.
        Not the paper's; with two candidates these are all orders.

    Example
    -------
    >>> score = TripleClassifier(embedding_dim=8, directions="V-F")
    >>> score(torch.ones(5, 8), torch.ones(5, 2, 8), "V-F").shape
    torch.Size([5, 2])
    """

    def __init__(self, embedding_dim, num_candidates=2, directions=None, every_order=False):
        network = torch.nn.Sequential(
            torch.nn.Linear((num_candidates + 1) * embedding_dim, embedding_dim),
            torch.nn.ReLU(),
            torch.nn.Linear(embedding_dim, embedding_dim // 2),
            torch.nn.ReLU(),
            torch.nn.Linear(embedding_dim // 2, num_candidates),
        )
        super().__init__(network, num_candidates, directions)
        self.every_order = bool(every_order)

    def extra_repr(self):
        """Returns the options that are not the usual ones."""
        options = ["every_order=True"] * self.every_order + [super().extra_repr()]
        return ", ".join(filter(None, options))

    def forward(self, probe, candidates, direction):
        """Returns the scores (B, N) of the candidates (B, N, dim) of each probe (B, dim)."""
        turns = range(self.num_candidates if self.every_order else 1)
        scores = [
            self.network(torch.cat([candidates.roll(turn, dims=1).flatten(1), probe], dim=1)).roll(
                -turn, dims=1
            )
            for turn in turns
        ]
        return torch.stack(scores).mean(dim=0)
