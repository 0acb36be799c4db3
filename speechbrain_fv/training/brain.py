"""The Brain: how a batch becomes a loss and an epoch a checkpoint. No algorithm lives here."""

import logging
import math
import time
import zlib
from contextlib import nullcontext
from itertools import zip_longest

import numpy as np
import speechbrain as sb
import torch
from speechbrain.core import INTRA_EPOCH_CKPT_FLAG
from speechbrain.utils.distributed import ddp_broadcast, run_on_main
from torch._dynamo.exc import TorchDynamoException

from speechbrain_fv import distributed
from speechbrain_fv.data.pairs import finished
from speechbrain_fv.evaluation.embeddings import Embeddings
from speechbrain_fv.evaluation.report import higher_is_better
from speechbrain_fv.losses import Batch, TrainingEmbeddings
from speechbrain_fv.messages import in_one_line
from speechbrain_fv.precision import full_float32
from speechbrain_fv.training.finite import FiniteCheck, NonFiniteError
from speechbrain_fv.training.lost_files import LostFiles
from speechbrain_fv.training.progress import Progress, log_epoch, vanishing_bars
from speechbrain_fv.training.schedules import parameter_groups
from speechbrain_fv.training.step_log import StepLog
from speechbrain_fv.training.validation import validate

logger = logging.getLogger(__name__)

MODALITIES = ("face", "voice")
DEFAULT_MONITOR = "verification/U/auc"


class FaceVoiceBrain(sb.Brain):
    """Trains a face and a voice encoder with a shared block, by the losses that the YAML names.

    Modules: ``face_encoder(images)``, ``voice_encoder(wavs, wav_lens)``, ``cmwr(embeddings)`` and
    ``objective(batch)``.

    Hyperparameters: ``loss_weights(terms, step)``, ``lr_schedule(optimizer)``, ``epoch_counter``,
    ``train_logger``, ``curves``, ``seed``, ``batch_size``; ``score``, how pairs are scored, and
    ``monitor``, the value of the report that chooses the checkpoint; ``metadata``, the labels that
    define the strata of the evaluation; ``training``, a `TrainingClips`; ``num_steps``, the
    optimiser steps of the whole training; optional ``gradient_compression``, see
    `distributed.share`.

    After ``evaluate()`` the attribute ``embeddings`` holds those of the set evaluated.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.hparams.score.to(self.device)
        self.step_log = StepLog(self.hparams.curves, self.device)
        self.lost = LostFiles(getattr(self.hparams, "lost_files", 0))
        self.finite = FiniteCheck(*(self.hparams.modules[f"{m}_encoder"] for m in MODALITIES))
        self.exchange = None  # of several processes, see `distributed.share`
        counter, num_steps, monitor = (
            getattr(self.hparams, name) for name in ("epoch_counter", "num_steps", "monitor")
        )
        self.progress = Progress(counter, num_steps, monitor)
        # SpeechBrain clips the first group of an optimiser alone; `_clip` clips all.
        self.clip_norm, self.max_grad_norm = self.max_grad_norm, math.inf
        # With --debug every process has a temporary folder of its own; the main one's is used.
        folder = ddp_broadcast(self.checkpointer.checkpoints_dir)
        self.checkpointer.checkpoints_dir = folder

    def compute_forward(self, batch, stage):
        """Returns (f*, v*) of the global batch, or the embeddings of a batch of one modality."""
        self.lost.note(getattr(batch, "lost", ()))
        batch = finished(batch.to(self.device, non_blocking=True), self.hparams.readers)
        encode = {
            "face": lambda: self.modules.face_encoder(batch.face),
            "voice": lambda: self.modules.voice_encoder(*batch.voice),
        }
        # In bf16 the sum of the gradients of 256 processes or more would stop growing.
        encoded = torch.stack([encode[modality]() for modality in batch.modalities]).float()
        if stage == sb.Stage.TRAIN:  # from here on every process has the global batch
            encoded = distributed.gather(encoded, dim=1)
        return self.modules.cmwr(encoded).float().unbind()

    def evaluate_batch(self, batch, stage):
        """Evaluates a batch; one of which all files are lost counts as 0."""
        if batch.modalities:
            return super().evaluate_batch(batch, stage)
        self.lost.note(batch.lost)
        return torch.zeros(())

    def compute_objectives(self, predictions, batch, stage):
        """Returns the weighted loss of a training batch; keeps the embeddings of any other."""
        if stage != sb.Stage.TRAIN:
            self._keep(predictions[0], batch)
            return torch.zeros(())
        self.finite.begin(batch, *predictions)
        try:
            with full_float32(self.device_type):
                terms, monitors = self.modules.objective(self._global_batch(*predictions, batch))
        except Exception:  # which a loss may raise for want of finite embeddings
            self.finite.check_embeddings(self._where())
            raise
        self.scalars = {name: value.detach() for name, value in {**terms, **monitors}.items()}
        loss = self.hparams.loss_weights(terms, self.optimizer_step)
        return loss if self.exchange is None else self.exchange(loss)

    def _global_batch(self, face, voice, batch):
        """Returns what the losses are given: embeddings, and what is gathered beside them."""
        gathered = {"face_classes": {}, "voice_classes": {}}
        for modality in MODALITIES:
            for attribute in self.hparams.training.classes:
                classes = distributed.gather(getattr(batch, f"{modality}_{attribute}_class"))
                gathered[f"{modality}_classes"][attribute] = classes
            gathered[f"{modality}_clip"] = distributed.gather(getattr(batch, f"{modality}_clip"))
        if self.modules.objective.needs_inputs:
            gathered["face_input"] = distributed.gather(batch.face)
            gathered["voice_input"] = distributed.gather(batch.voice.data)
        return Batch(
            face,
            voice,
            step=self.optimizer_step,
            num_steps=self.hparams.num_steps,
            generator=torch.Generator().manual_seed(self._step_seed()),
            **gathered,
        )

    def _where(self):
        return (
            f"at epoch {self.hparams.epoch_counter.current}, step {self.step} of the epoch; look "
            "at the clips named here, lower lr, or skip such batches with --nonfinite_patience"
        )

    def _step_seed(self):
        """A seed that a resumed run finds again: from the run's seed, epoch and step."""
        key = (self.hparams.seed, self.hparams.epoch_counter.current, self.step)
        return zlib.crc32(repr(key).encode())

    def on_fit_start(self):
        """Recovers the last checkpoint, says so, and drops what was logged after it."""
        super().on_fit_start()
        if text := self.progress.begin(self.optimizer_step):
            logger.info("%s", text)
        done = [self.optimizer_step, self.hparams.epoch_counter.current]
        run_on_main(self.hparams.curves.rewind, done)
        if (last := self.checkpointer.find_checkpoint()) is not None:
            self.lost.recover(last.meta)

    def fit(self, epoch_counter, train_set, valid_set=None, **kwargs):
        """Trains as SpeechBrain does; a method without terms, in closed form, is validated once."""
        if self.modules.objective.terms:
            try:
                with vanishing_bars():
                    super().fit(epoch_counter, train_set, valid_set, **kwargs)
                if text := self.progress.end():
                    logger.info("%s", text)
            except TorchDynamoException as error:
                raise ValueError(
                    f"compile: {in_one_line(error)}; name other modules with "
                    "--compile_module_keys, or leave --compile out"
                ) from error
        elif not self.test_only and not self.checkpointer.list_checkpoints():
            self.on_fit_start()
            self._fit_valid(valid_set, next(iter(epoch_counter)), enable=False)
        else:
            logger.info("nothing left to train: the closed form was solved before")

    def evaluate(self, *args, **kwargs):
        """Evaluates as SpeechBrain does."""
        with vanishing_bars():
            return super().evaluate(*args, **kwargs)

    def _wrap_distributed(self):
        """Prepares the modules for several processes, all together where SpeechBrain wraps each."""
        if self.distributed_launch:
            compression = getattr(self.hparams, "gradient_compression", None)
            encoders = [f"{modality}_encoder" for modality in MODALITIES]
            self.exchange = distributed.share(self.modules, encoders, compression)
        else:
            super()._wrap_distributed()

    def no_sync(self, use=True):
        """Returns a context in which gradients stay where they are, to be exchanged later."""
        return self.exchange.no_sync() if use and self.exchange is not None else nullcontext()

    def init_optimizers(self):
        """Makes the optimiser as SpeechBrain does; its gradients are clipped before every step."""
        if factors := getattr(self.hparams, "lr_factors", None):
            make, groups = self.opt_class, parameter_groups(self.modules, factors)
            self.opt_class = make and (lambda _: make(groups))
            super().init_optimizers()
            self.opt_class = make
        else:
            super().init_optimizers()
        if self.clip_norm < math.inf and self.optimizers_dict:
            self.optimizer.register_step_pre_hook(self._clip)

    def _clip(self, optimizer, args, kwargs):
        parameters = [value for group in optimizer.param_groups for value in group["params"]]
        torch.nn.utils.clip_grad_norm_(parameters, self.clip_norm)

    def fit_batch(self, batch):
        """Fits a batch; one without a finite loss is skipped as often as the patience says.

        Returns the loss where it was computed, since to bring it over would wait for the step.
        """
        kept = {}
        if self.nonfinite_patience:
            kept = {name: value.clone() for name, value in self.modules.named_buffers()}
        try:
            return self._fit_batch(batch)
        except NonFiniteError as error:
            self.nonfinite_count += 1
            if self.nonfinite_count > self.nonfinite_patience:
                raise
            logger.warning("skipped a batch: %s", error)
        for name, value in self.modules.named_buffers():
            value.copy_(kept[name])
        if self.step_log.batches and self.step % self.grad_accumulation_factor == 0:
            distributed.exchange_waiting(self.exchange)
            self.optimizers_step()
            self._log_step()
        return torch.tensor(math.nan, device=self.device)  # which the average leaves out

    def _fit_batch(self, batch):
        """What SpeechBrain's `fit_batch` does, which returns the loss on the CPU."""
        should_step = self.step % self.grad_accumulation_factor == 0
        self.on_fit_batch_start(batch, should_step)
        with self.no_sync(not should_step):
            with self.training_ctx:
                outputs = self.compute_forward(batch, sb.Stage.TRAIN)
                loss = self.compute_objectives(outputs, batch, sb.Stage.TRAIN)
            scaled_loss = self.scaler.scale(loss / self.grad_accumulation_factor)
            self.check_loss_isfinite(scaled_loss)
            scaled_loss.backward()
        if should_step:
            self.optimizers_step()
        self.on_fit_batch_end(batch, outputs, loss, should_step)
        return loss.detach()

    def update_average(self, loss, avg_loss):
        """Returns SpeechBrain's running mean, which in training is a moment behind."""
        if not self.modules.training:
            return super().update_average(loss, avg_loss)
        self.step_log.add_loss(self.step, loss)
        return self.step_log.write(avg_loss) if self.step_log.is_due else avg_loss

    def optimizers_step(self):
        """Steps at the step's learning rate."""
        self.hparams.lr_schedule(self.optimizer)
        super().optimizers_step()

    def on_fit_batch_start(self, batch, should_step):
        """Seeds the batch's dropout."""
        torch.manual_seed(self._step_seed())

    def on_fit_batch_end(self, batch, outputs, loss, should_step):
        """Keeps the unweighted terms and the monitors of the batch; logs them after a step."""
        self.step_log.add_batch({"loss": loss.detach(), **self.scalars})
        if should_step:
            self._log_step()

    def _log_step(self):
        lr, epoch = self.optimizer.param_groups[0]["lr"], self.hparams.epoch_counter.current
        self.step_log.add_step(self.optimizer_step, epoch, lr)

    def _save_intra_epoch_ckpt(self):
        """Saves a checkpoint as SpeechBrain does, with the files that were lost up to it.

        The curves up to it are on the disk before.
        """
        self.avg_train_loss = self.step_log.write(self.avg_train_loss)
        self.lost.share()
        self.checkpointer.save_and_keep_only(
            end_of_epoch=False,
            num_to_keep=1,
            ckpt_predicate=lambda checkpoint: INTRA_EPOCH_CKPT_FLAG in checkpoint.meta,
            meta={INTRA_EPOCH_CKPT_FLAG: True, **self.lost.meta()},
            verbosity=logging.DEBUG,
        )

    def _should_save_intra_epoch_ckpt(self, last_ckpt_time, steps_since_ckpt):
        """Says no while gradients wait for a step: a checkpoint does not hold them."""
        if self.step % self.grad_accumulation_factor:
            return False
        return super()._should_save_intra_epoch_ckpt(last_ckpt_time, steps_since_ckpt)

    def check_loss_isfinite(self, loss):
        """Raises NonFiniteError with the clips if embeddings or the loss are NaN or infinite."""
        self.finite.check(loss, self.scalars, self._where())

    def on_evaluate_start(self, max_key=None, min_key=None):
        """Recovers the best checkpoint; ValueError if there is none."""
        if self.checkpointer.find_checkpoint(max_key=max_key, min_key=min_key) is None:
            raise ValueError(
                f"{self.checkpointer.checkpoints_dir}: no checkpoint to evaluate; train at least "
                "one epoch first"
            )
        super().on_evaluate_start(max_key, min_key)

    def on_stage_start(self, stage, epoch=None):
        """Empties the collection of embeddings; tells the losses that an epoch begins."""
        self.collected = {modality: [] for modality in MODALITIES}
        self.stage_start = time.monotonic()
        if stage == sb.Stage.TRAIN and self.step == 0:  # else it is resumed
            torch.manual_seed(self._step_seed())
            with torch.no_grad(), full_float32(self.device_type):
                if self.optimizer_step == 0:
                    self.modules.objective.on_training_start(self.embed_training_clips)
                self.modules.objective.on_epoch_start(epoch, self.embed_training_clips)

    def _keep(self, embeddings, batch):
        (modality,) = batch.modalities
        identities, ids = (getattr(batch, f"{modality}_{name}") for name in ("identity", "id"))
        self.collected[modality].append((embeddings.cpu().numpy(), identities, ids))

    def _gather(self):
        """The embeddings of all processes, in the order of one process, and what is lost."""
        self.lost.share()
        collected = distributed.gather_objects(self.collected)
        arrays = {}
        for modality in self.collected:
            turns = zip_longest(*(own[modality] for own in collected))
            parts = [part for turn in turns for part in turn if part is not None]
            arrays[modality] = np.concatenate([vectors for vectors, _, _ in parts])
            arrays[f"{modality}_identity"] = [name for _, names, _ in parts for name in names]
            arrays[f"{modality}_id"] = [clip for _, _, clips in parts for clip in clips]
        return Embeddings(**arrays)

    def on_stage_end(self, stage, stage_loss, epoch=None):
        """After validation: logs, tells the early stopper, keeps the best and last checkpoint."""
        if stage == sb.Stage.TRAIN:
            self.lost.share()
            self.step_log.drop_batches()
            self.step_log.write(stage_loss)
            return
        self.embeddings = self._gather()
        if stage == sb.Stage.TEST:
            return
        embedded = time.monotonic()
        valid, train, monitored = run_on_main(self._validate, [epoch])
        logger.debug(
            "validation of %d faces and %d voices: embedded in %.1f s, scored in %.1f s",
            *(len(self.embeddings.face), len(self.embeddings.voice)),
            *(embedded - self.stage_start, time.monotonic() - embedded),
        )
        self.hparams.epoch_counter.update_metric(monitored)
        log_epoch(self.hparams.train_logger, epoch, train, valid)
        line = self.progress.line(self.optimizer_step, train.get("loss"), valid, monitored)
        logger.info("%s", line)
        self.checkpointer.save_and_keep_only(
            meta={
                **({"auc": float(valid["auc_U"])} if "auc_U" in valid else {}),
                "monitor": float(monitored),
                "epoch": int(epoch),
                "steps": int(self.optimizer_step),
                **self.lost.meta(),
            },
            max_keys=["monitor"],
            importance_keys=[],
        )

    def _validate(self, epoch):
        """Logs the validation to the curves.

        Returns its values without the details of losses, the means of the epoch's training, and the
        monitored value with the sign that makes higher better.
        """
        valid, monitored = validate(
            self.embeddings, self.hparams.metadata, self.hparams.score, self.hparams.monitor
        )
        batch_size = self.hparams.batch_size * distributed.world()[1]
        details = self.modules.objective.validate(self.embeddings, batch_size, self.hparams.seed)
        curves = self.hparams.curves
        train = curves.epoch_means(epoch)
        rows = {f"valid_{name}": value for name, value in (valid | details).items()}
        curves.append(self.optimizer_step, epoch, rows)
        return valid, train, monitored

    def embed_training_clips(self):
        """Returns the `TrainingEmbeddings` by the present weights, without augmentation."""
        embeddings = self.embed(self.hparams.training.loader)
        tensors = [
            torch.as_tensor(getattr(embeddings, modality), device=self.device)
            for modality in MODALITIES
        ]
        labels = [
            {name: value.to(self.device) for name, value in self.hparams.training.labels[m].items()}
            for m in MODALITIES
        ]
        return TrainingEmbeddings(*tensors, *labels)

    def embed(self, loader):
        """Returns the `Embeddings` of a split by the present weights."""
        self.modules.eval()
        self.on_stage_start(sb.Stage.TEST)
        with torch.no_grad():
            for batch in loader:
                self.evaluate_batch(batch, sb.Stage.TEST)
        return self._gather()

    def training_summary(self):
        """Returns what the report says of the training: its length and the checkpoint evaluated."""
        best = self.checkpointer.find_best().meta
        last = self.checkpointer.find_checkpoint(
            importance_key=lambda checkpoint: checkpoint.meta.get("epoch", 0)
        ).meta
        summary = {
            "num_epochs": int(last["epoch"]),
            "num_steps": int(last["steps"]),
            "best_epoch": int(best["epoch"]),
            "best_valid_auc": best.get("auc"),
        }
        monitor = self.hparams.monitor
        if monitor != DEFAULT_MONITOR:
            value = best["monitor"] if higher_is_better(monitor) else -best["monitor"]
            summary |= {"monitor": monitor, "best_valid": value}
        if self.lost.texts:
            summary["lost_files"] = self.lost.texts
        return summary
