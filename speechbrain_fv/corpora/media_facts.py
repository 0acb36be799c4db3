"""The facts of one media file: what only reading and decoding it can tell.

A file that the readers of the training and of use refuse has an error here, in the same words;
what it must have at least is checked against its facts, as it may be chosen.

torch, torchaudio and torchvision take seconds to import, in every process that reads files: each
is imported where it is needed.
"""

import math

from speechbrain_fv.media.audio import decode_audio, level_db
from speechbrain_fv.media.files import reason_of

FACTS_VERSION = 2  # raise it when facts change: cached ones are then gathered again


def face_facts(path):
    """The facts of an image file: `height` and `width` in pixels, `constant`, or `error`.

    Arguments
    ---------
    path : str
        The file, in any format that `decode_image` reads.

    Returns
    -------
    dict
        Either {"error": reason} or {"height": int, "width": int, "constant": bool}.
    """
    from speechbrain_fv.media.images import decode_image, is_constant

    try:
        image = decode_image(path)  # (3, height, width), uint8
    except ValueError as error:
        return {"error": reason_of(error, path)}
    return {"height": image.shape[1], "width": image.shape[2], "constant": is_constant(image)}


def voice_facts(path, vad=False):
    """The facts of an audio file, or `error`.

    Channels are averaged. The level is the RMS in dB below full scale; null when all is zero.

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
        "level_db": float or None, "speech": list of [start, stop] samples or None}.
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
        "speech": None,
    }
    if vad:
        from speechbrain_fv.media.vad import find_speech

        facts["speech"] = find_speech(recording.samples, recording.rate)
    return facts
