"""`serve`: the page."""

import logging

from speechbrain_fv.commands.models import load_model
from speechbrain_fv.demo.limits import Limits
from speechbrain_fv.demo.server import check_serving
from speechbrain_fv.demo.server import serve as serve_page
from speechbrain_fv.inference.face_detection import FaceDetector


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
    serve_page(load_model(options), options.host, options.port, limits, _detector())


def _detector():
    """Returns a `FaceDetector`, or None where the extra `detect` is not installed."""
    try:
        return FaceDetector()
    except ValueError:
        return None
