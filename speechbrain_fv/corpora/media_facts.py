"""The facts of one media file: what only reading and decoding it can tell.

A file that the readers of the training and of use refuse has an error here, in the same words;
what it must have at least is checked against its facts, as it may be chosen.

torch, torchaudio and torchvision take seconds to import, in every process that reads files: each
is imported where it is needed.
"""

import hashlib
import math
import os
import tempfile

from speechbrain_fv.media.audio import ENDS_EARLY, decode_audio, level_db
from speechbrain_fv.media.files import reason_of

DAMAGES = ("Corrupt JPEG data", "Premature end of JPEG", "Inconsistent progression")
"""How the warnings of libjpeg begin that are of the picture's data."""

FACTS_VERSION = 4  # raise it when facts change: cached ones are then gathered again


def face_facts(path):
    """The facts of an image file: height and width, whether it shows one colour; or `error`.

    Arguments
    ---------
    path : str
        The file, in any format that `decode_image` reads.

    Returns
    -------
    dict
        Either {"error": reason} or {"height": int, "width": int, both in pixels, "constant": bool,
        "content": what `content_digest` returns}, and "damage": reason, of a damaged JPEG.
    """
    from speechbrain_fv.media.images import is_constant

    try:
        image, damage = decoded_image(path)  # (3, height, width), uint8
    except ValueError as error:
        return {"error": reason_of(error, path)}
    return {
        "height": image.shape[1],
        "width": image.shape[2],
        "constant": is_constant(image),
        "content": content_digest(path),
        **damage,
    }


def decoded_image(path):
    """Returns an image as `decode_image` does, and {"damage": reason} where libjpeg warns of it.

    libjpeg warns on the standard error stream of the process, and goes on with whatever colours
    come out: who uses a model may want to see them, a training does not.

    Arguments
    ---------
    path : str

    Returns
    -------
    image : torch.Tensor of uint8, shape (3, H, W)
    damage : dict

    Raises
    ------
    ValueError
        As `decode_image`.
    """
    from speechbrain_fv.media.images import decode_image

    with tempfile.TemporaryFile() as said:
        terminal = os.dup(2)
        os.dup2(said.fileno(), 2)
        try:
            image = decode_image(path)
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
        if not os.fstat(said.fileno()).st_size:
            return image, {}
        said.seek(0)
        lines = said.read().decode(errors="replace").splitlines(keepends=True)
    damages = [line.strip() for line in lines if line.startswith(DAMAGES)]
    os.write(2, "".join(line for line in lines if not line.startswith(DAMAGES)).encode())
    if not damages:
        return image, {}
    return image, {"damage": f"damaged: {damages[0]}; copy or save the file again"}


def content_digest(path):
    """Returns 32 hexadecimal digits, the same for files of the same bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as file:
        for part in iter(lambda: file.read(2**20), b""):
            digest.update(part)
    return digest.hexdigest()


def voice_facts(path, vad=False):
    """The facts of an audio file, or `error`.

    Channels are averaged. The level is that of `level_db`; null when all samples are equal.

    Arguments
    ---------
    path : str
        The file, in any format that `decode_audio` reads.
    vad : bool
        Whether to find the speech segments; without it `speech` is null.

    Returns
    -------
    dict
        Either {"error": reason} or {"rate": int, "num_samples": int, "channels": int,
        "level_db": float or None, "loudest_db": the same of the loudest channel by itself,
        "content": as of faces, "speech": list of [start, stop] samples or None}, and
        "damage": reason, of a file that ends before its header says.
    """
    try:
        recording = decode_audio(path)
    except ValueError as error:
        return {"error": reason_of(error, path)}
    level = level_db(recording.samples)
    facts = {
        "rate": recording.rate,
        "num_samples": len(recording.samples),
        "channels": recording.channels,
        "level_db": level if math.isfinite(level) else None,
        "loudest_db": recording.loudest_db if math.isfinite(recording.loudest_db) else None,
        "content": content_digest(path),
        "speech": None,
    }
    for notice in recording.notices:
        if notice.startswith(ENDS_EARLY):
            facts["damage"] = f"{notice}; copy it again"
    if vad:
        from speechbrain_fv.media.vad import find_speech

        facts["speech"] = find_speech(recording.samples, recording.rate)
    return facts
