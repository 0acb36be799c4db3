"""Images as a face network's weights ask for them, in training, evaluation and publication."""

import logging

import torch

from speechbrain_fv.messages import in_one_line
from speechbrain_fv.settings.documents import dump_yaml, load_yaml

logger = logging.getLogger(__name__)


def use_own_images(hparams, resolved_yaml):
    """Lets the corpus's face reader read images as the face network's weights ask for.

    Arguments
    ---------
    hparams : dict
        The loaded YAML.
    resolved_yaml : str
        Its text with all bases, overrides and includes in place.

    Returns
    -------
    resolved_yaml : str
        With the reader as it is now, for the run's record and a published model.

    Raises
    ------
    ValueError
        If the network refuses images of this size.
    """
    encoder, reader = hparams["face_encoder"], hparams["corpus"]["face_reader"]
    network = getattr(encoder, "frozen_network", None) or getattr(encoder, "network", None)
    parts = getattr(reader, "readers", {})  # of a joined corpus
    readers = [each for each in (parts or {"": reader}).values() if hasattr(each, "configure")]
    if not hasattr(network, "image_settings") or not readers:
        return resolved_yaml
    settings = network.image_settings
    if settings is not None:
        for each in readers:
            each.configure(**settings)
        logger.info(
            "face images as the weights ask for: %s",
            ", ".join(f"{name} {value}" for name, value in settings.items()),
        )
        tree = load_yaml(resolved_yaml, "the settings")
        corpora = [tree["corpus"]["parts"][name] for name in parts] or [tree["corpus"]]
        for corpus in corpora:
            corpus["face_reader"].update(settings)
        resolved_yaml = dump_yaml(tree)
    for size in {each.image_size for each in readers}:
        _check_size(network, size)
    return resolved_yaml


@torch.no_grad()
def _check_size(network, size):
    training = network.training
    try:
        network.eval()(torch.zeros(1, 3, size, size))
    except Exception as error:  # networks of timm raise errors of many kinds
        raise ValueError(
            f"face: the network takes no images of {size} x {size} pixels ({in_one_line(error)}); "
            "take the size of its weights with face's pretrained or checkpoint, or set image_size "
            "and resize of the corpus"
        ) from error
    finally:
        network.train(training)
