"""Vectors, precomputed or of frozen networks: their widths, and the networks fitted to them."""

import torch

from speechbrain_fv.data.features import FeatureReader
from speechbrain_fv.data.readers import EmbeddingReader
from speechbrain_fv.encoders import CanonicalNetwork, VectorNetwork
from speechbrain_fv.training import features
from speechbrain_fv.training.brain import MODALITIES


def check_widths(hparams):
    """Raises ValueError, before anything is prepared, if widths do not fit together."""
    for modality in MODALITIES:
        reader = hparams["corpus"][f"{modality}_reader"]
        network = getattr(hparams[f"{modality}_encoder"], "network", None)
        head = getattr(network, "head", network)
        if getattr(head, "num_kept", 0) and head.num_features != hparams["embedding_dim"]:
            raise ValueError(
                f"{modality}: num_kept: expected an embedding_dim of {head.num_features}, the "
                f"output of the layers and the {head.num_kept} coordinates behind it, got "
                f"{hparams['embedding_dim']}; a projection would mix them"
            )
        width = getattr(network, "input_dim", None)
        if isinstance(reader, EmbeddingReader) and width is not None:
            found = reader.width()
            if found not in (None, width):
                raise ValueError(
                    f"{modality}: input_dim: expected {found}, the width of "
                    f"{reader.vectors_key!r} in {reader.path}, got {width}; add "
                    f"--{modality}='{{input_dim: {found}}}'"
                )


def vector_width(reader, table):
    """Returns the width of the precomputed vectors that a reader reads; None for media."""
    if _reads_vectors(reader):
        return len(reader(table.ID.iloc[0], None))
    return None


def _reads_vectors(reader):
    """Whether a reader, or each of those of a joined corpus, reads vectors and no media."""
    readers = getattr(reader, "readers", {"": reader}).values()
    return all(isinstance(each, EmbeddingReader | FeatureReader) for each in readers)


def fit_networks(hparams, manifests, device="cpu"):
    """Gives networks on vectors, and heads on features, the statistics of the training vectors."""
    networks, vectors, identities = [], [], []
    for modality, clips in zip(MODALITIES, (manifests.faces, manifests.voices), strict=True):
        encoder, table = hparams[f"{modality}_encoder"], clips["train"]
        network = getattr(encoder, "head", None) or getattr(encoder, "network", None)
        if not isinstance(network, VectorNetwork | CanonicalNetwork):
            continue
        networks.append(network)
        reader = hparams["corpus"][f"{modality}_reader"]
        vectors.append(_training_vectors(encoder, reader, table, device))
        identities.append(table.spk_id.tolist())
        if isinstance(network, VectorNetwork):
            network.fit(vectors[-1], identities[-1])
    canonical = [isinstance(network, CanonicalNetwork) for network in networks]
    if canonical == [True, True]:
        face, voice = networks
        face.fit_pair(voice, vectors[0], identities[0], vectors[1], identities[1])
    elif any(canonical):
        raise ValueError(
            "canonical coordinates: expected them for both modalities; take face/canonical.yaml "
            "and voice/canonical.yaml together"
        )


def _training_vectors(encoder, reader, table, device):
    """Returns the vectors (N, D) of clips, computed here where they were not before."""
    if _reads_vectors(reader):
        return torch.stack([reader(clip, None) for clip in table.ID])
    rows = [
        (b"", 0, {name: row[name] for name in reader.takes}) for row in table.to_dict("records")
    ]
    return torch.cat([vectors for _, vectors in features.computed(encoder, reader, rows, device)])
