"""The supervised term L_id (Bi-Pcm, Eq. 9)."""

import torch
from torch.nn.functional import cross_entropy

from speechbrain_fv.data.schema import UNKNOWN


class IdentityLoss(torch.nn.Module):
    """L_id: cross-entropy of identity and gender, with classifiers that both modalities share.

    The paper's sum over the batch (Eq. 9) is a mean here, so that the loss does not change with the
    batch size. A pair without a gender label adds no gender term.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    attributes : sequence of str
        Which targets to classify; ("identity", "gender") is the paper's.

    Example
    -------
    >>> loss = IdentityLoss(embedding_dim=4)
    >>> loss.set_classes({"identity": 3, "gender": 2})
    >>> targets = {"identity": torch.tensor([0, 2]), "gender": torch.tensor([1, -1])}
    >>> terms, monitors = loss(torch.randn(2, 4), torch.randn(2, 4), targets)
    >>> sorted(terms), sorted(monitors)
    (['L_id'], ['id_accuracy'])
    """

    def __init__(self, embedding_dim, attributes=("identity", "gender")):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.attributes = tuple(attributes)
        self.classifiers = torch.nn.ModuleDict()

    def set_classes(self, num_classes):
        """Builds the classifiers once the corpus has told how many classes there are.

        Arguments
        ---------
        num_classes : dict of str to int
            Classes per attribute among the training identities; an attribute with fewer than two
            (a corpus without gender labels) has nothing to classify and is left out.

        Raises
        ------
        ValueError
            If there are fewer than two training identities.
        """
        if num_classes.get("identity", 0) < 2 and "identity" in self.attributes:
            raise ValueError(
                "L_id: expected at least 2 training identities, got "
                f"{num_classes.get('identity', 0)}; add identities to the training split"
            )
        for attribute in self.attributes:
            if num_classes.get(attribute, 0) > 1:
                self.classifiers[attribute] = torch.nn.Linear(
                    self.embedding_dim, num_classes[attribute]
                )

    def forward(self, face, voice, targets, generator=None):
        """Returns the term ``L_id`` and the monitor ``id_accuracy``.

        Arguments
        ---------
        face, voice : torch.Tensor, shape (B, K)
            f* and v*, pair by pair.
        targets : dict of str to torch.Tensor of int64, shape (B,)
            Class index per attribute, -1 where unknown.
        generator : torch.Generator, optional
            Not used: nothing here is random.

        Returns
        -------
        terms : dict
            ``L_id``: scalar, the mean over pairs of both modalities' cross-entropies, summed over
            attributes.
        monitors : dict
            ``id_accuracy``: scalar in [0, 1], the share of faces and voices whose identity is
            predicted.
        """
        loss = face.new_zeros(())
        monitors = {}
        for attribute, classifier in self.classifiers.items():
            target = targets[attribute]
            for embedding in (face, voice):
                logits = classifier(embedding)
                losses = cross_entropy(logits, target, ignore_index=UNKNOWN, reduction="sum")
                loss = loss + losses / len(target)
                if attribute == "identity":
                    hits = (logits.argmax(dim=1) == target).float().mean()
                    monitors["id_accuracy"] = monitors.get("id_accuracy", 0) + hits / 2
        return {"L_id": loss}, monitors
