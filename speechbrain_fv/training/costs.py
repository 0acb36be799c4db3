"""What a training costs: its trained parameters and the time it took."""

import json
import time
from contextlib import contextmanager
from pathlib import Path

from speechbrain.utils.distributed import if_main_process

from speechbrain_fv.files import replacing

COST_FILE = "cost.json"
MODEL = ("face_encoder", "voice_encoder", "cmwr")  # what is left at work


@contextmanager
def measured(brain, folder):
    """Writes `COST_FILE` into a folder when what happens inside has ended, by an error too.

    The file has ``model_parameters`` and ``loss_parameters``, the trained ones, the ``device``, and
    ``seconds``: of this start, and of those before it, unless one was killed outright.

    Arguments
    ---------
    brain : FaceVoiceBrain
    folder : path
        Of the run.
    """
    path = Path(folder, COST_FILE)
    earlier = 0.0
    if brain.checkpointer.list_checkpoints() and path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))["seconds"]
    start = time.perf_counter()
    try:
        yield
    finally:
        if if_main_process():
            model = sum(_num_trained(brain.modules[name]) for name in MODEL)
            cost = {
                "model_parameters": model,
                "loss_parameters": _num_trained(brain.modules) - model,
                "seconds": earlier + time.perf_counter() - start,
                "device": str(brain.device),
            }
            with replacing(path) as file:
                file.write(json.dumps(cost, indent=2).encode() + b"\n")


def _num_trained(module):
    return sum(weights.numel() for weights in module.parameters() if weights.requires_grad)
