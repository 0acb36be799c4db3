"""Feature packs as a corpus: read once, kept in an .npz, and prepared as embeddings are."""

import logging
import os
from pathlib import Path

import numpy as np

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.corpora.feature_packs import read_pack
from speechbrain_fv.corpora.precomputed import prepare_embeddings
from speechbrain_fv.data.manifests import cache_key
from speechbrain_fv.files import replacing

logger = logging.getLogger(__name__)


def prepare_feature_packs(
    manifest_folder, face_pack, voice_pack, vectors, clips_csv=None, **options
):
    """Write the manifests of a pack of face vectors and a pack of voice vectors.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    face_pack, voice_pack : path
        A CSV without header, a folder of `.npy`, an `.npy` or an `.npz`; see `feature_packs`.
    vectors : path
        An .npz that both packs are written to, and the training reads; of other packs it is
        replaced.
    clips_csv : path, optional
        CSV of people (identity, and any of split, gender, nationality, age), or of clips, with the
        column clip; needed where a pack names nobody.
    **options
        Of `prepare_embeddings`.

    Raises
    ------
    ValueError
        If a pack cannot be read, see `read_pack`, or as `prepare_embeddings`.
    """
    pack_vectors(vectors, face_pack, voice_pack)
    prepare_embeddings(
        manifest_folder,
        clips_csv,
        vectors,
        "face",
        "voice",
        face_ids_key="face_id",
        voice_ids_key="voice_id",
        **options,
    )


def pack_vectors(vectors, face_pack, voice_pack):
    """Writes two packs to one .npz, whole or not at all, unless it holds them already.

    Arguments
    ---------
    vectors : path
        Gets `face`, `face_id`, `voice`, `voice_id`, and `face_identity` and `voice_identity` where
        the packs tell.
    face_pack, voice_pack : path
        See `read_pack`.
    """
    packs = {"face": Path(face_pack), "voice": Path(voice_pack)}
    paths = {modality: os.path.abspath(path) for modality, path in packs.items()}
    files = [file for path in packs.values() for file in _files(path)]
    key = cache_key(paths, files)
    vectors = Path(vectors)
    if vectors.exists():
        if any(vectors.samefile(path) for path in packs.values() if path.exists()):
            raise ValueError(f"{vectors}: vectors: expected another file than the packs themselves")
        if str(read_arrays(vectors, ["packs"])[0].get("packs")) == key:
            return
        logger.warning("%s: holds other packs, or an earlier state of them; replaced", vectors)
    arrays = {"packs": np.array(key)}
    for modality, path in packs.items():
        pack = read_pack(path, modality)
        arrays |= {modality: pack.vectors, f"{modality}_id": np.array(pack.ids, dtype=str)}
        if pack.identities is not None:
            arrays[f"{modality}_identity"] = np.array(pack.identities, dtype=str)
        logger.info(
            "%s: %d %s vectors of width %d",
            path,
            *pack.vectors.shape[:1],
            modality,
            pack.vectors.shape[1],
        )
    with replacing(vectors) as file:
        np.savez(file, **arrays)


def _files(path):
    return sorted(path.rglob("*.npy")) if path.is_dir() else [path]
