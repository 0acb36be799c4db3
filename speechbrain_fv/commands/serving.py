"""`serve`: the page."""

import logging

from speechbrain_fv.commands.models import load_model
from speechbrain_fv.demo.limits import Limits
from speechbrain_fv.demo.server import check_serving
from speechbrain_fv.demo.server import serve as serve_page
from speechbrain_fv.inference.clips import face_detector


def serve(options):
    """Serves the page until it is interrupted."""
    limits = Limits(
        options.max_megabytes,
        options.max_files,
        options.max_seconds,
        options.max_megapixels,
        options.keep_minutes,
    )
    check_serving(options.host, options.port, limits)
    # What is logged of a file, its visitor sees on the page; nobody else need read its name.
    logging.getLogger("speechbrain_fv.inference").setLevel(logging.ERROR)
    model = load_model(options)
    serve_page(model, options.host, options.port, limits, _detector(model))


def _detector(model):
    """Returns the model's `FaceDetector`; None where the extra `detect` is not installed.

    A model whose training found the faces of its photos needs the extra.
    """
    try:
        return face_detector(model.config, True)
    except ValueError:
        if model.config.get("face_crop") is not None:
            raise
        return None
