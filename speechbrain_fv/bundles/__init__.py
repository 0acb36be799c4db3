"""Models as they are published: exported, checked, uploaded, fetched, and loaded safely."""

from speechbrain_fv.bundles.bundle import FILES, Bundle, load_bundle, model_version
from speechbrain_fv.bundles.calibration import Calibration

__all__ = ["FILES", "Bundle", "Calibration", "load_bundle", "model_version"]
