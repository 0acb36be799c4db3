"""NaN and infinity in a step: found with one wait for the device, and the clips named."""

import torch

from speechbrain_fv import distributed


class NonFiniteError(ValueError):
    """A batch whose embeddings or loss are NaN or infinite; the text names its clips."""


class FiniteCheck:
    """Raises `NonFiniteError` for a training batch without finite embeddings or loss.

    All processes must ask, as they do when their global batch is not finite.

    Arguments
    ---------
    face_encoder, voice_encoder : torch.nn.Module
        With ``takes_features``, and a function ``features`` of inputs where these become features.
    """

    def __init__(self, face_encoder, voice_encoder):
        self.encoders = {"face": face_encoder, "voice": voice_encoder}
        self.batch = self.rows = None

    def begin(self, batch, face, voice):
        """Takes a process's batch, and the embeddings (B, K) of the global batch."""
        self.batch = batch
        self.rows = torch.stack([face, voice]).isfinite().all(dim=2).all(dim=0)

    def check_embeddings(self, where):
        """Raises if embeddings are not finite; ``where`` tells the step, and what to do."""
        self._check(self.rows.tolist(), where)

    def check(self, loss, scalars, where):
        """Raises if embeddings or the loss (a scalar) are not; the scalars, by name, are told.

        Beside what its losses do, such as K-means, a step waits for the device only here.
        """
        loss_is_finite, *rows = torch.cat([loss.isfinite().view(1), self.rows]).tolist()
        self._check(rows, where)
        if not loss_is_finite:
            terms = {name: float(value) for name, value in scalars.items()}
            raise NonFiniteError(
                f"the loss is {float(loss)} {where}; terms {terms}; "
                f"clips {', '.join(self._pairs())}"
            )

    def _check(self, rows, where):
        """Names the clips that cause it.

        BatchNorm spreads what is wrong with one clip over all: where inputs or features are not
        finite, only their clips are named; else the pairs whose embeddings are not.
        """
        if all(rows):
            return
        pairs = [name for name, good in zip(self._pairs(), rows, strict=True) if not good]
        causes = [clip for own in distributed.gather_objects(self._causes()) for clip in own]
        clips = ", ".join(causes) or f"{', '.join(pairs)}, of finite inputs and features"
        raise NonFiniteError(f"NaN or infinite embeddings {where}; clips {clips}")

    def _causes(self):
        """The clips of this process's batch whose own inputs or features are not finite."""
        causes = []
        for modality, inputs in (("face", self.batch.face), ("voice", self.batch.voice.data)):
            encoder = self.encoders[modality]
            features = None if encoder.takes_features else getattr(encoder, "features", None)
            with torch.no_grad():
                values = [inputs] if features is None else [inputs, features(inputs)]
            finite = torch.stack([torch.isfinite(of).flatten(1).all(dim=1) for of in values])
            for row in finite.all(dim=0).logical_not().nonzero().flatten().tolist():
                what = "features" if finite[0, row] else "input"
                clip = getattr(self.batch, f"{modality}_id")[row]
                causes.append(f"{clip} ({modality} {what})")
        return causes

    def _pairs(self):
        """The pairs of the global batch."""
        ids = zip(self.batch.face_id, self.batch.voice_id, strict=True)
        own = [f"{face}+{voice}" for face, voice in ids]
        return [name for names in distributed.gather_objects(own) for name in names]
