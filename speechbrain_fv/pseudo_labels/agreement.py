"""How often the pseudo-labels of a held-out face and voice agree (Bi-Pcm, Eq. 5, Fig. 7)."""

import copy
import warnings

import numpy as np
import torch

from speechbrain_fv.pseudo_labels import PseudoLabeler

MAX_BATCHES = 8  # enough for a standard error near 1 % at 128 pairs; bounds the time


def pair_clips(face_identity, voice_identity):
    """Returns pairs of clips of one identity, every clip in one pair at most.

    First comes one pair of every identity, then a second one of those that have it, and so on: a
    batch repeats an identity only when there are fewer identities than pairs, as in training.

    Arguments
    ---------
    face_identity, voice_identity : sequence of str
        The identity of every face and of every voice.

    Returns
    -------
    face_index, voice_index : numpy.ndarray of int64, shape (num_pairs,)

    Example
    -------
    >>> faces, voices = pair_clips(["a", "a", "b"], ["b", "a", "a", "c"])
    >>> faces.tolist(), voices.tolist()
    ([0, 2, 1], [1, 0, 2])
    """
    places = [_places(names) for names in (face_identity, voice_identity)]
    pairs = sorted(places[0].keys() & places[1].keys())
    return tuple(np.array([place[pair] for pair in pairs], dtype=np.int64) for place in places)


def _places(names):
    """Returns (how many clips of the identity came before, identity) -> index of the clip."""
    seen, places = {}, {}
    for index, name in enumerate(map(str, names)):
        places[seen.get(name, 0), name] = index
        seen[name] = seen.get(name, 0) + 1
    return places


def held_out_agreement(objective, embeddings, batch_size, seed):
    """Returns the share of held-out pairs whose hard labels agree, the mean of Eq. 5, for each q.

    Pairs are clustered in batches of the training's size, with a copy of the labeler: the running
    prototype of the training enters and stays as it is. With fewer pairs than a batch there is one
    smaller batch; at most `MAX_BATCHES` are used.

    Arguments
    ---------
    objective : torch.nn.Module
        The losses trained; without a `PseudoLabeler` among them there is nothing to compute.
    embeddings : Embeddings
        f* and v* of the held-out clips.
    batch_size : int
        Pairs per batch.
    seed : int
        Seed of the k-means++ draws.

    Returns
    -------
    agreement : dict of str to float
        ``agreement_q<q>`` in [0, 1]; a q above the number of pairs in a batch is left out, with a
        warning.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names = ["ann", "bob", "eve"]
    >>> same = Embeddings(np.eye(3, dtype="f"), np.eye(3, dtype="f"), names, names)
    >>> held_out_agreement(PseudoLabeler((2,), embedding_dim=3), same, batch_size=3, seed=0)
    {'agreement_q2': 1.0}
    """
    labelers = [module for module in objective.modules() if isinstance(module, PseudoLabeler)]
    indices = pair_clips(embeddings.face_identity, embeddings.voice_identity)
    pairs = [
        torch.as_tensor(vectors[index])
        for vectors, index in zip((embeddings.face, embeddings.voice), indices, strict=True)
    ]
    size = min(batch_size, len(pairs[0]))
    agreement = {}
    for labeler in labelers:
        kept = tuple(q for q in labeler.num_clusters if q <= size)
        if kept != tuple(labeler.num_clusters):
            warnings.warn(
                f"label agreement on held-out pairs: a batch has {size} of them, so q = "
                f"{sorted(set(labeler.num_clusters) - set(kept))} is left out",
                stacklevel=2,
            )
        if kept:
            shares = _label(labeler, kept, pairs, size, seed)
            agreement |= {f"agreement_q{q}": share for q, share in zip(kept, shares, strict=True)}
    return agreement


def _label(labeler, num_clusters, pairs, size, seed):
    """Returns the mean agreement over whole batches of pairs, one float per q."""
    agree = []
    for face, voice in list(zip(*(part.split(size) for part in pairs), strict=True))[:MAX_BATCHES]:
        if len(face) < size:
            break  # fewer pairs per cluster would agree at another rate
        labeler_copy = copy.deepcopy(labeler).cpu()
        labeler_copy.num_clusters = num_clusters
        labels = labeler_copy(face, voice, torch.Generator().manual_seed(seed))  # (q, 2, B)
        agree.append((labels[:, 0] == labels[:, 1]).float().mean(dim=1))
    return torch.stack(agree).mean(dim=0).tolist()
