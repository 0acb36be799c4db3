"""`embed`: the embeddings of files, in a file."""

import os
from pathlib import Path

import numpy as np

from speechbrain_fv.commands.models import cautioned, described, load_model
from speechbrain_fv.commands.output import Outcome
from speechbrain_fv.files import replacing
from speechbrain_fv.inference.encoders import FileEncoder
from speechbrain_fv.media.kinds import media_kind
from speechbrain_fv.search import sources


def embed(options):
    """Writes embeddings, ids and where they are known identities to an .npz."""
    if options.output.endswith(os.sep) or Path(options.output).is_dir():
        raise ValueError(f"{options.output}: a folder, expected the name of a file for --output")
    files, identities, left_out = _listed(options.sources)
    models = _models(options, files)
    versions = [model.version for model in dict.fromkeys(models.values())]
    arrays = {"model_version": np.array("+".join(versions))}
    for modality, media in files.items():
        if not media:
            continue
        measured = []
        ids, vectors, skipped = encoded(models[modality], modality, media, options, measured)
        left_out += skipped
        arrays |= {
            modality: vectors,
            f"{modality}_id": np.array(ids, dtype=str),
            f"{modality}_weight": np.array(measured, dtype=np.float64),
        }
        if identities:
            known = [identities[modality, name] for name in ids]
            arrays[f"{modality}_identity"] = np.array(known, dtype=str)
    counts = {modality: len(arrays.get(modality, ())) for modality in files}
    if not any(counts.values()):
        raise ValueError(f"no file can be used; the first: {left_out[0][1]}")
    with replacing(options.output) as file:
        np.savez(file, **arrays)
    data = {
        "output": options.output,
        **{f"num_{modality}s": count for modality, count in counts.items()},
    }
    line = f"{options.output}: {counts['face']} faces and {counts['voice']} voices"
    lines = [line + left_out_count(left_out)]
    if options.model is not None:
        (model,) = dict.fromkeys(models.values())
        data |= {"embedding_dim": model.embedding_dim, "model": described(model)}
        return cautioned(model, Outcome(data, lines, left_out))
    data |= {f"{name}_dim": model.embedding_dim for name, model in models.items()}
    if identities and len(models) == 2:
        data["train"] = _training(options.output, models)
        lines += ["train on them, with people as in the CSV:", f"  {data['train']}"]
    return Outcome(data, lines, left_out)


def _models(options, files):
    """Returns what encodes each modality that there are files of.

    Raises
    ------
    ValueError
        If neither or both of a published model and encoders are named, or a modality has none.
    """
    includes = {m: getattr(options, f"{m}_encoder") for m in files}
    if (options.model is None) == (not any(includes.values())):
        raise ValueError("expected either --model, or --face_encoder or --voice_encoder or both")
    needed = [modality for modality, media in files.items() if media]
    if options.model is not None:
        return dict.fromkeys(needed, load_model(options))
    for modality in needed:
        if not includes[modality]:
            raise ValueError(
                f"{files[modality][0].path}: a {modality}, and no --{modality}_encoder; name one, "
                "or give files of the other kind only"
            )
    return {
        modality: FileEncoder(
            modality,
            includes[modality],
            getattr(options, f"{modality}_settings"),
            options.device,
        )
        for modality in needed
    }


def _training(output, models):
    """Returns the command that trains on vectors of encoders."""
    corpus = (
        f"{{clips_csv: null, embeddings: {output}, face_key: face, voice_key: voice, "
        "face_ids_key: face_id, voice_ids_key: voice_id}"
    )
    includes = [
        f"--{modality}='!include:{modality}/embedding.yaml {{input_dim: {model.embedding_dim}}}'"
        for modality, model in models.items()
    ]
    command = "speechbrain-fv train bipcm_fst.yaml --corpus='!include:corpora/embeddings.yaml "
    return " ".join([f"{command}{corpus}'", *includes])


def left_out_count(left_out):
    """Returns how many files were left out, to end a line with; "" where none was."""
    return f"; files left out: {len(left_out)}" if left_out else ""


def encoded(model, modality, media, options, measured=None):
    """Returns the embeddings of files.

    Arguments
    ---------
    model : FaceVoiceAssociation
    modality : str
        "face" or "voice".
    media : list of sources.Media
    options : argparse.Namespace
        With `skip_broken` and `detect_faces`.
    measured : list, optional
        Where the weight of each embedding is added, see `encode_face_files`.

    Returns
    -------
    ids : list of N str
    embeddings : array of shape (N, K), float32
    left_out : list of (file, reason)
    """
    on_error = "skip" if options.skip_broken else "raise"
    try:
        ids, vectors, skipped = sources.encode(
            model, modality, media, on_error, options.detect_faces, measured
        )
    except ValueError as error:
        text = str(error).replace("build with on_error='skip'", "pass --skip_broken")
        raise ValueError(text) from error
    return ids, vectors, [(clip.id, clip.reason) for clip in skipped]


def _listed(given):
    """Returns files by modality, the identity of each (modality, id) if a CSV tells it, and the
    (file, reason) of what else the folders hold.

    A face and a voice of two CSVs may have one id and be of two people.
    """
    files, identities, unused = {"face": [], "voice": []}, {}, []
    for source in given:
        if Path(source).is_dir():
            found, others = sources.in_folder(source)
            unused += [(clip.id, clip.reason) for clip in others]
        elif Path(source).suffix.lower() == ".csv":
            found = sources.in_csv(source)
            known = sources.identities_in(source)
            clips = [(modality, clip.id) for modality, media in found.items() for clip in media]
            identities |= {clip: known[clip[1]] for clip in clips if known}
        else:
            found = {media_kind(source): [sources.Media(source, Path(source))]}
        for modality, media in found.items():
            files[modality] += media
    for modality, media in files.items():
        _check_ids(modality, media, identities)
    return files, identities, unused


def _check_ids(modality, media, identities):
    """Raises ValueError if two files have one id, or only some have an identity."""
    first = {}
    for clip in media:
        if first.setdefault(clip.id, clip) is not clip:
            raise ValueError(
                f"{first[clip.id].path} and {clip.path} would have the same id {clip.id!r}; list "
                "the files in a CSV with ids of your own"
            )
        if identities and (modality, clip.id) not in identities:
            raise ValueError(
                f"{clip.path}: its identity is not known, those of others are; give all in CSVs "
                "with the column identity, or none"
            )
