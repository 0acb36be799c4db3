"""The pretrained interface: someone's own faces and voices, matched in three lines."""

import itertools
from typing import Literal

import torch

from speechbrain_fv.inference import inputs
from speechbrain_fv.inference.comparing import candidate_scores, match_direction
from speechbrain_fv.inference.file_interface import FileInterface
from speechbrain_fv.inference.inputs import BATCH_SIZE, Faces, Voices
from speechbrain_fv.inference.loading import PublishedModel
from speechbrain_fv.inference.people import EncodesPeople
from speechbrain_fv.inference.results import Ranking, Verification

Direction = Literal["F-V", "V-F"]


class FaceVoiceAssociation(FileInterface, EncodesPeople, PublishedModel):
    """Matches faces and voices with a published model.

    >>> model = FaceVoiceAssociation.from_hparams(source="owner/name")  # doctest: +SKIP
    >>> score, probability, decision = model.verify_files("face.jpg", "voice.wav")  # doctest: +SKIP
    >>> ranking = model.match_files("voice.wav", ["a.jpg", "b.jpg", "c.jpg"])  # doctest: +SKIP

    Where an argument is a face or a voice, it may be what `encode_face` or `encode_voice` takes,
    or an embedding that they returned; of a model on precomputed vectors only the latter, as a
    vector can be as wide as an embedding. Embeddings are f* and v* (Bi-Pcm, Eqs. 1-2), float32, on
    the model's device; one is the same, within rounding, alone and in any batch. Inside a module
    of yours the model stays what it is: frozen weights stay in evaluation mode after `train`, and
    weights stay in float32 after `half`, `bfloat16`, `double` and the like, which a warning tells.

    Attributes
    ----------
    config : dict
        The content of the bundle's config.json.
    version : str
        Names weights and settings. Only embeddings of one version can be compared.
    score : Score
        How a face and a voice are compared, in float64 on the CPU.
    calibration : Calibration or None
        None where the score ranks candidates and tells nothing of a pair.
    threshold : float or None
        Scores from here on are taken for one person. The probability is 50 % there.
    embedding_dim : int
        K.
    """

    def encode_face(self, images: Faces, batch_size: int = BATCH_SIZE) -> torch.Tensor:
        """Returns face embeddings f*.

        Arguments
        ---------
        images : torch.Tensor of shape (B, 3, H, W) or (3, H, W), or list
            RGB crops of faces: uint8, or floats in [0, 1]. A list holds images (3, H, W) of any
            sizes, or PIL images. For a model on precomputed vectors: vectors (B, D) or (D,).
        batch_size : int
            Images that go through the network at once.

        Returns
        -------
        embeddings : torch.Tensor of float32, shape (B, K)

        Raises
        ------
        ValueError
            If shape, type or range are others, or there is no image.
        """
        if self.config["face_input"] == "vector":
            return self._embed("face", inputs.vectors("face", images), batch_size)
        prepared = inputs.prepared_images(images, self.readers["face_reader"])
        return self._embed("face", prepared, batch_size)

    def encode_voice(
        self, wavs: Voices, wav_lens: torch.Tensor | None = None, batch_size: int = BATCH_SIZE
    ) -> torch.Tensor:
        """Returns voice embeddings v* of the middle `clip_seconds` of each clip.

        A shorter clip is repeated until it is as long.

        Arguments
        ---------
        wavs : torch.Tensor or array of shape (B, samples) or (samples,)
            Mono speech at the model's `sample_rate`, in [-1, 1]. For a model on precomputed
            vectors: vectors (B, D) or (D,).
        wav_lens : torch.Tensor of shape (B,), optional
            Relative lengths in (0, 1]; what lies behind is padding, and changes nothing.
        batch_size : int
            Clips that go through the network at once.

        Returns
        -------
        embeddings : torch.Tensor of float32, shape (B, K)

        Raises
        ------
        ValueError
            If shape, type or range are others, or a clip is shorter than 0.05 s, silent (below
            -60 dB) or not finite.
        """
        if self.config["voice_input"] == "vector":
            return self._embed("voice", inputs.vectors("voice", wavs), batch_size)
        inputs.check_default_dtype()
        windows = inputs.windows(wavs, wav_lens, self.readers["voice_reader"])
        return self._embed("voice", windows, batch_size)

    def verify(self, face: Faces, voice: Voices) -> Verification:
        """Returns whether faces and voices belong together, pair by pair.

        Arguments
        ---------
        face : as for `encode_face`, or embeddings (B, K) or (K,)
        voice : as for `encode_voice`, or embeddings (B, K) or (K,)

        Returns
        -------
        Verification

        Raises
        ------
        ValueError
            As `encode_face` and `encode_voice`; if there are more of one than of the other; or if
            the model's score gives a pair none.
        """
        self._able("verify", "verification")
        face, voice = (inputs.gathered(given, self.embedding_dim) for given in (face, voice))
        inputs.check_order(face, voice, self.embedding_dim)
        faces, voices = self._embeddings(face, "face"), self._embeddings(voice, "voice")
        if len(faces) != len(voices):
            raise ValueError(
                f"verify: expected as many faces as voices, got {len(faces)} and {len(voices)}; "
                "match compares one with many"
            )
        score = self.score.pairs(faces.cpu(), voices.cpu()).float().to(self.device)
        return Verification(score, self.calibration.probability(score), score >= self.threshold)

    def match(
        self, probe: Faces | Voices, candidates: Faces | Voices, direction: Direction | None = None
    ) -> Ranking:
        """Returns the candidates, best match first.

        Arguments
        ---------
        probe : a face or a voice, or several
            (3, H, W), (samples,) or (K,) for one; with an axis B in front for several.
        candidates : faces for a voice, voices for a face
            N of them, as `encode_face` and `encode_voice` take them, or embeddings (N, K).
        direction : str, optional
            "F-V" if the probe is a face, "V-F" if it is a voice. Needed where both are embeddings
            and the model's score does not take faces and voices alike.

        Returns
        -------
        Ranking
            Of shape (N,) for one probe, (B, N) for several.

        Raises
        ------
        ValueError
            If there is no candidate, probe and candidates are both faces or both voices, or the
            model's score cannot rank so many candidates in this direction; or as `encode_face` and
            `encode_voice`.
        """
        probe, candidates = (
            inputs.gathered(given, self.embedding_dim) for given in (probe, candidates)
        )
        if inputs.is_empty(candidates):
            raise ValueError("match: expected at least one candidate, got none")
        kinds = tuple(inputs.kind(given, self.embedding_dim) for given in (probe, candidates))
        for kind in filter(None, kinds):
            self._refuse_vectors(kind)
        if kinds[0] and kinds[0] == kinds[1]:
            raise ValueError(
                f"match: expected a face and voices, or a voice and faces, got a {kinds[0]} and "
                f"{kinds[1]}s"
            )
        direction = match_direction(kinds, direction, self.score)
        asking, found = ("face", "voice") if direction == "F-V" else ("voice", "face")
        probes = self._embeddings(probe, asking)
        gallery = self._embeddings(candidates, found)
        self._able("match", "matching", direction, len(gallery))
        scores = candidate_scores(self.score, probes.cpu(), gallery.cpu(), direction)
        scores = scores.float().to(self.device)
        scores, indices = scores.sort(dim=1, descending=True, stable=True)
        if inputs.is_single(probe):
            scores, indices = scores[0], indices[0]
        probabilities = self.calibration and self.calibration.probability(scores)
        return Ranking(indices, scores, probabilities)

    def forward(self, face: Faces, voice: Voices) -> Verification:
        """Returns `verify`."""
        return self.verify(face, voice)

    def _able(self, verb, task, direction=None, num_candidates=None):
        """Raises ValueError if the model's score cannot do a task."""
        reason = self.score.unable(task, direction, num_candidates)
        if reason:
            raise ValueError(f"{verb}: this model cannot: {reason}")

    def _embed(self, modality, prepared, batch_size):
        """Returns the embeddings of prepared inputs of equal shapes: a tensor, or an iterable."""
        if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
            raise ValueError(f"batch_size: expected a whole number above 0, got {batch_size!r}")
        encoder = self.mods[f"{modality}_encoder"]
        parts, prepared = [torch.empty(0, self.embedding_dim, device=self.device)], iter(prepared)
        while batch := list(itertools.islice(prepared, batch_size)):
            batch = torch.stack(batch).to(self.device)
            lens = (torch.ones(len(batch), device=self.device),) if modality == "voice" else ()
            # SpeechBrain's features make tensors on the default device.
            with self.inference_ctx, torch.device(self.device):
                parts.append(self.mods.cmwr(encoder(batch, *lens)).float())
        return torch.cat(parts)

    def _embeddings(self, given, modality):
        """Returns embeddings (B, K) of faces or voices, or given embeddings as they are."""
        if inputs.are_embeddings(given, self.embedding_dim):
            return inputs.checked_embeddings(modality, given, self.device)
        self._refuse_vectors(modality)
        return (self.encode_face if modality == "face" else self.encode_voice)(given)

    def _refuse_vectors(self, modality):
        """Raises ValueError where what is no embedding would be a vector, face or voice alike."""
        if self.config[f"{modality}_input"] == "vector":
            raise ValueError(
                f"{modality}: expected embeddings of width {self.embedding_dim}; this model takes "
                f"precomputed vectors: pass them to encode_{modality} first"
            )
