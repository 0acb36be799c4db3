"""The supervised term L_id (Bi-Pcm, Eq. 9)."""

import logging

import torch
from torch.nn.functional import cross_entropy

from speechbrain_fv.data.schema import UNKNOWN
from speechbrain_fv.losses.base import Batch, Loss, Needs

logger = logging.getLogger(__name__)


class IdentityLoss(Loss):
    """L_id: cross-entropy of identity and gender, with classifiers that both modalities share.

    The paper's sum over the batch (Eq. 9) is a mean here, so that the loss does not change with the
    batch size. A clip without a gender label adds 0 to the sum and counts in the mean. Rows need
    not be pairs.

    Alone, with the attributes that its name tells, it is the loss of DIMNet (Wen et al., "Disjoint
    Mapping Network for Cross-modal Matching of Voices and Faces", ICLR 2019)::

        L = sum_c lambda_c [ mean_i CE(H_c(f_i), y_i^c) + mean_i CE(H_c(v_i), y_i^c) ]

    with one linear classifier H_c per covariate c for both modalities, and lambda_c = 1, which is
    unverified.

    Arguments
    ---------
    embedding_dim : int
        K, the width of the embeddings.
    attributes : sequence of str
        Which classes to tell apart; ("identity", "gender") is the paper's.
    optional : sequence of str
        Those of them that are left out, with a line in the log, where the corpus has no two classes
        of them. The others are required.

    Example
    -------
    >>> from speechbrain_fv.losses import TrainingSet
    >>> loss = IdentityLoss(embedding_dim=4)
    >>> loss.build(TrainingSet({"identity": 3, "gender": 2}))
    >>> classes = {"identity": torch.tensor([0, 2]), "gender": torch.tensor([1, -1])}
    >>> terms, monitors = loss(Batch(torch.randn(2, 4), torch.randn(2, 4), classes, classes))
    >>> sorted(terms), sorted(monitors)
    (['L_id'], ['id_accuracy'])
    """

    terms = ("L_id",)

    def __init__(self, embedding_dim, attributes=("identity", "gender"), optional=("gender",)):
        super().__init__()
        self.embedding_dim = embedding_dim
        self.attributes = tuple(attributes)
        self.optional = tuple(name for name in optional if name in self.attributes)
        required = tuple(name for name in self.attributes if name not in self.optional)
        self.needs = Needs(face=required, voice=required, optional=self.optional, pairs=False)
        self.classifiers = torch.nn.ModuleDict()

    def build(self, training_set):
        """Builds the classifiers.

        Arguments
        ---------
        training_set : TrainingSet

        Raises
        ------
        ValueError
            If a required attribute has fewer than two classes.
        """
        for attribute in self.attributes:
            num_classes = training_set.num_classes.get(attribute, 0)
            if num_classes > 1:
                self.classifiers[attribute] = torch.nn.Linear(self.embedding_dim, num_classes)
            elif attribute in self.optional:
                logger.info("L_id: the corpus tells no two classes of %s; left out", attribute)
            elif attribute == "identity":
                training_set.identities_to_classify()
            else:
                raise ValueError(
                    f"L_id: expected at least 2 classes of {attribute} among the training "
                    f"identities, got {num_classes}; label them, or leave it out of attributes"
                )

    def forward(self, batch: Batch):
        """Returns the term ``L_id`` and the monitor ``id_accuracy``.

        Arguments
        ---------
        batch : Batch

        Returns
        -------
        terms : dict
            ``L_id``: scalar, the mean over rows of both modalities' cross-entropies, summed over
            attributes.
        monitors : dict
            ``id_accuracy``: scalar in [0, 1], the share of faces and voices whose identity is
            predicted.
        """
        loss = batch.face.new_zeros(())
        monitors = {}
        for attribute, classifier in self.classifiers.items():
            for modality in ("face", "voice"):
                target = batch.classes(modality, attribute)
                logits = classifier(getattr(batch, modality))
                losses = cross_entropy(logits, target, ignore_index=UNKNOWN, reduction="sum")
                loss = loss + losses / len(target)
                if attribute == "identity":
                    hits = (logits.argmax(dim=1) == target).float().mean()
                    monitors["id_accuracy"] = monitors.get("id_accuracy", 0) + hits / 2
        return {"L_id": loss}, monitors
