"""Figures -> SpeechBrain's TensorBoard and W&B loggers, which take scalars only by themselves."""

import numpy as np
from PIL import Image


def log_figures(train_logger, figures):
    """Sends figures to a logger that shows pictures; any other is left alone.

    Arguments
    ---------
    train_logger : speechbrain.utils.train_logger.TrainLogger
    figures : list of RunFigure
        From `run_figures.report_run`; their PNGs are sent, under "figures/<name>".
    """
    from speechbrain.utils.train_logger import TensorboardLogger, WandBLogger  # imports torchvision

    if isinstance(train_logger, TensorboardLogger) and train_logger.writer:
        for figure in figures:
            with Image.open(figure.paths[0]) as image:
                pixels = np.asarray(image.convert("RGB"))
            train_logger.writer.add_image(
                f"figures/{figure.name}",
                pixels,
                train_logger.global_step["meta"],
                dataformats="HWC",
            )
        train_logger.writer.flush()
    elif isinstance(train_logger, WandBLogger) and train_logger.run:
        import wandb  # an extra; whoever has such a logger has it

        pictures = {f"figures/{figure.name}": str(figure.paths[0]) for figure in figures}
        train_logger.run.log({name: wandb.Image(path) for name, path in pictures.items()})
