"""How often a face and a voice of one person get the same pseudo-label (Bi-Pcm, Eq. 5, Fig. 7).

For each q there are three quantities, each a mean over pairs in [0, 1]:

- ``agreement_q<q>``, hard: the two pseudo-labels are equal (S_i of Eq. 5).
- ``argmax_agreement_q<q>``: phi(f*) and phi(v*) are greatest for the same label.
- ``soft_agreement_q<q>``: sum_c p(f)_c p(v)_c, the chance that labels drawn from the two predicted
  distributions are equal.

Each stands beside its floor, the same name with ``_shuffled``: the value for faces and voices of
different people, taken from the same batch. The floor is not 1/q: clusters differ in size, and
where pairs seed the clusters (``clusters="paired"``) both points of a seed start in the same
cluster, whoever they are, which is q of B pairs.

The paper reports about 77 % at q = 8 and 81 % at q = 64 and does not say of which quantity. Hard
agreement of ``separate`` clusters can hardly be meant: there two identical sets of 128 points give
equal labels to 5 to 35 % of the pairs, and reach more only if the points form tight groups that
every draw of seeds finds again. Under ``shared`` and ``paired`` identical views agree in 100 % and
less similar ones in less, so that 77 to 81 % can be a hard agreement; under ``paired`` with q = 64
and 128 pairs it would stand beside a floor of about 52 %. The argmax agreement can reach such
figures under every reading, and says how alike the two predictions are, not how alike the labels.
"""

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


def derangement(identities, seed):
    """Returns for every pair another pair, so that the two are of different identities.

    The pairs are put in a random order in which each identity stands together, and each gets the
    pair that is as many places further as the most frequent identity has pairs. An identity with
    more than half of the pairs keeps some of its own.

    Arguments
    ---------
    identities : sequence of str
        The identity of every pair.
    seed : int

    Returns
    -------
    others : numpy.ndarray of int64, shape (num_pairs,)
        A permutation.

    Example
    -------
    >>> names = np.array(["ann", "ann", "bob", "eve"])
    >>> (names[derangement(names, seed=0)] == names).any()
    np.False_
    """
    rng = np.random.default_rng(seed)
    _, codes, counts = np.unique(identities, return_inverse=True, return_counts=True)
    order = rng.permutation(len(codes))
    order = order[rng.permutation(len(counts))[codes[order]].argsort(kind="stable")]
    others = np.empty_like(order)
    others[order] = np.roll(order, -counts.max())
    return others


@torch.no_grad()
def pair_agreement(labeler, face, voice, identities, batch_size, seed, discriminator=None):
    """Returns the agreement of pairs, and of shuffled pairs, for each q.

    Pairs are clustered in batches of the training's size, with a copy of the labeler: the running
    prototype of the training enters and stays as it is. With fewer pairs than a batch there is one
    smaller batch; at most `MAX_BATCHES` are used, and a last one with fewer pairs is not: fewer
    pairs per cluster would agree at another rate.

    For the floor the voices of each batch are exchanged so that no face keeps a voice of its own
    identity (`derangement`), and the batch is labelled and scored anew: with ``paired`` clusters
    labels depend on who is paired with whom.

    Arguments
    ---------
    labeler : PseudoLabeler
    face, voice : torch.Tensor, shape (num_pairs, K)
        f* and v*, pair by pair, on the CPU.
    identities : sequence of str
        The identity of every pair.
    batch_size : int
        Pairs per batch.
    seed : int
        Seed of the k-means++ draws and of the shuffling.
    discriminator : torch.nn.Module, optional
        phi, called as ``discriminator(face, voice, face_labels, voice_labels, q)``; returns the
        logits of faces and voices, shape (B, q). Without it there is only the hard agreement.

    Returns
    -------
    agreement : dict of str to float
        For each q ``agreement_q<q>`` and, with a discriminator, ``argmax_agreement_q<q>`` and
        ``soft_agreement_q<q>``, each also with ``_shuffled``. A q above the number of pairs in a
        batch is left out, with a warning; the floors where all pairs of each batch have one
        identity.

    Example
    -------
    >>> from speechbrain_fv.pseudo_labels import PseudoLabeler
    >>> labeler, points = PseudoLabeler((3,), 4, clusters="shared"), torch.eye(4)
    >>> pair_agreement(labeler, points, points, list("abcd"), batch_size=4, seed=0)
    {'agreement_q3': 1.0, 'agreement_q3_shuffled': 0.0}
    """
    size = min(batch_size, len(face))
    kept = tuple(q for q in labeler.num_clusters if q <= size)
    if kept != tuple(labeler.num_clusters):
        warnings.warn(
            f"label agreement on held-out pairs: a batch has {size} of them, so q = "
            f"{sorted(set(labeler.num_clusters) - set(kept))} is left out",
            stacklevel=2,
        )
    if not kept:
        return {}
    labeler = copy.deepcopy(labeler).cpu().eval()  # counts no prototype
    labeler.num_clusters = kept
    if discriminator is not None:
        discriminator = copy.deepcopy(discriminator).cpu().eval()
    identities = np.asarray(identities)
    means, floors = [], []
    for start in range(0, len(face) - size + 1, size)[:MAX_BATCHES]:
        rows = slice(start, start + size)
        others = start + derangement(identities[rows], seed)
        values = _agreement_of_a_batch(labeler, discriminator, face[rows], voice[rows], seed)
        means.append({name: value.mean() for name, value in values.items()})
        differ = torch.from_numpy(identities[others] != identities[rows])
        if differ.any():
            values = _agreement_of_a_batch(labeler, discriminator, face[rows], voice[others], seed)
            floors.append({f"{name}_shuffled": x[differ].mean() for name, x in values.items()})
    return _mean_of_batches(means) | _mean_of_batches(floors)


def _mean_of_batches(batches):
    """Returns the mean of every value over a list of dicts, none for no batch."""
    if not batches:
        return {}
    table = torch.stack([torch.stack(list(batch.values())) for batch in batches])
    return dict(zip(batches[0], table.mean(dim=0).tolist(), strict=True))


def _agreement_of_a_batch(labeler, discriminator, face, voice, seed):
    """Returns the three quantities of every pair, shape (B,), by name."""
    labels = labeler(face, voice, torch.Generator().manual_seed(seed))  # (n, 2, B)
    values = {}
    for q, (face_labels, voice_labels) in zip(labeler.num_clusters, labels, strict=True):
        values[f"agreement_q{q}"] = (face_labels == voice_labels).float()
        if discriminator is not None:
            logits = discriminator(face, voice, face_labels, voice_labels, q)
            first, second = (part.argmax(dim=1) for part in logits)
            values[f"argmax_agreement_q{q}"] = (first == second).float()
            first, second = (part.softmax(dim=1) for part in logits)
            values[f"soft_agreement_q{q}"] = (first * second).sum(dim=1)
    return values


def held_out_agreement(objective, embeddings, batch_size, seed, discriminator=None):
    """Returns the agreement of held-out pairs, and of shuffled pairs, for each q.

    Clips are paired by `pair_clips`; see `pair_agreement` for the rest.

    Arguments
    ---------
    objective : torch.nn.Module
        A `PseudoLabeler`, or the losses trained; without a labeler among them there is nothing to
        compute.
    embeddings : Embeddings
        f* and v* of the held-out clips.
    batch_size : int
        Pairs per batch.
    seed : int
        Seed of the k-means++ draws and of the shuffling.
    discriminator : torch.nn.Module, optional
        phi of the losses.

    Returns
    -------
    agreement : dict of str to float
        As from `pair_agreement`.

    Example
    -------
    >>> from speechbrain_fv.evaluation.embeddings import Embeddings
    >>> names, labeler = ["ann", "bob", "eve", "kim"], PseudoLabeler((3,), 4, clusters="shared")
    >>> same = Embeddings(np.eye(4, dtype="f"), np.eye(4, dtype="f"), names, names)
    >>> held_out_agreement(labeler, same, batch_size=4, seed=0)
    {'agreement_q3': 1.0, 'agreement_q3_shuffled': 0.0}
    """
    face_index, voice_index = pair_clips(embeddings.face_identity, embeddings.voice_identity)
    face = torch.as_tensor(embeddings.face[face_index])
    voice = torch.as_tensor(embeddings.voice[voice_index])
    identities = np.asarray(embeddings.face_identity)[face_index]
    agreement = {}
    for labeler in objective.modules():
        if isinstance(labeler, PseudoLabeler):
            agreement |= pair_agreement(
                labeler, face, voice, identities, batch_size, seed, discriminator
            )
    return agreement
