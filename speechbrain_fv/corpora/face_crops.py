"""The face of each photo of a corpus, found and cropped once, in a cache of PNG files.

A crop is kept under the SHA-256 of the photo's content and the settings of the crop, with a JSON
beside it that tells the detector's score, so that a photo is looked at once, under whatever name,
and an interrupted preparation goes on where it stopped. Of a photo without a face only the JSON is
there, with the reason.
"""

import functools
import hashlib
import json
from io import BytesIO
from pathlib import Path

from speechbrain_fv.corpora.media_facts import decoded_image
from speechbrain_fv.corpora.workers import Unwritable
from speechbrain_fv.data.manifests import cache_key
from speechbrain_fv.files import replacing
from speechbrain_fv.media.files import check_file, reason_of

CROPS_VERSION = 1  # raise it when the same settings give another crop: all are then made anew


def crops_folder(cache_folder, settings):
    """Returns the folder of the crops made by some settings of `FaceDetector`.

    Example
    -------
    >>> crops_folder("data", {"margin": 1.5}) == crops_folder("data", {"margin": 1.25})
    False
    """
    key = cache_key({"version": CROPS_VERSION, **settings})
    return Path(cache_folder) / "face_crops" / key[:16]


def crop_facts(path, folder, settings):
    """The facts of a photo, whose crop is in the cache after the call.

    Arguments
    ---------
    path : str
        The photo.
    folder : path
        From `crops_folder`.
    settings : dict
        Arguments of `FaceDetector`.

    Returns
    -------
    dict
        Either {"error": reason}, or {"crop": path of the PNG, "crop_sha256": str, "height": int,
        "width": int, "constant": bool} of the crop, "score": the detector's in (0, 1],
        "quarter_turns": int, "num_faces": int, of which the largest was taken, "tilt" in degrees,
        "content", digits that photos of the same bytes share, and "damage" as of `face_facts`.

    Raises
    ------
    Unwritable
        If the crop cannot be written; nothing of it is left.
    """
    try:
        check_file(path)
        digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (ValueError, OSError) as error:
        return {"error": reason_of(error, path)}
    crop = Path(folder) / digest[:2] / f"{digest}.png"
    beside = crop.with_suffix(".json")
    facts = _known(beside)
    if facts is None or not is_whole(facts):
        facts = _found(path, crop, settings)
        try:
            with replacing(beside) as file:
                file.write(json.dumps(facts).encode())
        except OSError as error:
            raise _unwritten(beside, error) from error
    return {**facts, "content": digest[:32]}


def is_whole(facts):
    """Whether the crop that facts tell of is in the cache as it was written; or there is none."""
    if "crop" not in facts:
        return True
    try:
        content = Path(facts["crop"]).read_bytes()
    except OSError:
        return False
    return hashlib.sha256(content).hexdigest() == facts["crop_sha256"]


def _found(path, crop, settings):
    """The facts of a photo that is not in the cache; writes its crop."""
    from torchvision.transforms.v2.functional import to_pil_image

    from speechbrain_fv.media.images import is_constant

    try:
        photo, damage = decoded_image(path)
        found = _detector(**settings).find(photo)
    except ValueError as error:
        return {"error": reason_of(error, path)}
    content = BytesIO()
    to_pil_image(found.crop).save(content, "PNG")
    try:
        with replacing(crop) as file:
            file.write(content.getvalue())
    except OSError as error:
        raise _unwritten(crop, error) from error
    return {
        "crop": str(crop),
        "crop_sha256": hashlib.sha256(content.getvalue()).hexdigest(),
        "height": found.crop.shape[1],
        "width": found.crop.shape[2],
        "constant": is_constant(found.crop),
        "score": found.detection.score,
        "quarter_turns": found.quarter_turns,
        "num_faces": found.num_faces,
        "tilt": found.tilt,
        **damage,
    }


@functools.cache
def _detector(**settings):
    from speechbrain_fv.media.face_detection import FaceDetector

    return FaceDetector(**settings)


def _known(beside):
    """The facts in a JSON of the cache; None where there is none, or a damaged one."""
    try:
        facts = json.loads(beside.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return (
        facts
        if isinstance(facts, dict) and ({"error"} & set(facts) or set(facts) >= _FACTS)
        else None
    )


_FACTS = {
    *("crop", "crop_sha256", "height", "width", "constant"),
    *("score", "quarter_turns", "num_faces", "tilt"),
}


def _unwritten(path, error):
    return Unwritable(
        f"{path}: cannot be written ({error.strerror or error}); make room, or set another "
        "cache_folder, and start again: what was done is kept"
    )
