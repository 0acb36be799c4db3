"""Training throughput: what the data path delivers, what the networks take, and both together.

A folder in the layout of VoxCeleb1 and VGGFace is made, of JPEG and WAV files of those corpora's
sizes, and its media are read beside plain readers of files; then the same training steps run on
one batch that is at hand (the ceiling), and on what the loader delivers.
"""

import argparse
import json
import statistics
import tempfile
import time
from contextlib import nullcontext

import torch
from speechbrain.lobes.features import MFCC
from speechbrain.processing.features import InputNormalization

from speechbrain_fv.data.pairs import finished
from speechbrain_fv.data.readers import ImageReader, SpeechReader
from speechbrain_fv.encoders import DimnetVoice, FaceEncoder, VoiceEncoder, timm_network
from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.experiments.benchmarks.reading import (
    cached,
    data_path,
    loader_of,
    make_corpus,
)
from speechbrain_fv.files import replacing
from speechbrain_fv.losses import (
    Batch,
    IdentityLoss,
    Objective,
    PredictedAgreement,
    PrototypeDiscriminator,
    PseudoLabelLoss,
    TrainingSet,
)
from speechbrain_fv.pseudo_labels import PseudoLabeler

CEILING = "ceiling: one batch at hand"


class Networks:
    """ResNet-34, DIMNet-voice on MFCC, and the losses of Bi-Pcm, as bipcm_fst.yaml has them."""

    def __init__(self, options, tables, readers):
        torch.manual_seed(0)
        self.device, self.readers = torch.device(options.device), readers
        self.face = FaceEncoder(timm_network(options.model), 256, standardize=True)
        self.voice = VoiceEncoder(
            DimnetVoice(64, 256),
            256,
            256,
            features=MFCC(n_mels=64, n_mfcc=64, deltas=False, context=False),
            normalize=InputNormalization(norm_type="sentence"),
            standardize=True,
        )
        counts = [number for number in (8, 32, 64) if number <= options.batch_size]
        labeler = PseudoLabeler(counts, 256)
        self.objective = Objective(
            {
                "self_learning": PseudoLabelLoss(
                    labeler, PrototypeDiscriminator(), PredictedAgreement()
                ),
                "identity": IdentityLoss(256, ["identity"]),
            }
        )
        people = tables[0].spk_id.nunique()
        self.objective.build(
            TrainingSet({"identity": people}, *map(len, tables), people, options.batch_size, ())
        )
        self.parts = torch.nn.ModuleList([self.face, self.voice, self.objective]).to(self.device)
        if options.channels_last:
            self.face.to(memory_format=torch.channels_last)
        if options.compile:
            self.face, self.voice = torch.compile(self.face), torch.compile(self.voice)
        fused = {"fused": True} if options.fused else {}
        self.optimizer = torch.optim.Adam(self.parts.parameters(), 1e-3, **fused)
        self.bf16 = options.precision == "bf16"
        self.people = people
        self.step_number = 0

    def step(self, batch, lap=lambda name: None):
        """One training step; `lap(name)` is called at the end of each of its parts."""
        batch = finished(batch.to(self.device, non_blocking=True), self.readers)
        lap("transfer, normalising")
        kind = self.device.type
        with torch.autocast(kind, torch.bfloat16) if self.bf16 else nullcontext():
            inputs = self.voice.prepare(*batch.voice)
            lap("features")
            face = self.face(batch.face)
            voice = self.voice.projection(self.voice.network(*inputs))
        face, voice = face.float(), voice.float()
        lap("forward")
        classes = torch.arange(len(face), device=self.device) % self.people
        terms, _ = self.objective(self._losses(face, voice, classes))
        loss = sum(terms.values())
        lap("labels and losses")
        self.optimizer.zero_grad()
        loss.backward()
        lap("backward")
        self.optimizer.step()
        lap("optimiser")

    def _losses(self, face, voice, classes):
        self.step_number += 1
        clip = torch.arange(len(face), device=self.device)
        return Batch(
            face,
            voice,
            face_classes={"identity": classes},
            voice_classes={"identity": classes},
            face_clip=clip,
            voice_clip=clip,
            step=self.step_number,
            num_steps=1000,
            generator=torch.Generator().manual_seed(self.step_number),
        )


class Laps:
    """Elapsed times of the parts of steps; on a GPU by events, without waiting in between."""

    def __init__(self, device):
        self.on_gpu, self.marks = torch.device(device).type == "cuda", []

    def mark(self, name):
        if self.on_gpu:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append((name, event))
        else:
            self.marks.append((name, time.perf_counter()))

    def milliseconds(self):
        """Returns the median ms of each part."""
        if self.on_gpu:
            torch.cuda.synchronize()
        times = {}
        for (_, before), (name, after) in zip(self.marks, self.marks[1:], strict=False):
            elapsed = before.elapsed_time(after) if self.on_gpu else 1e3 * (after - before)
            times.setdefault(name, []).append(elapsed)
        return {name: statistics.median(values) for name, values in times.items()}


def steps(networks, batches, device):
    """Returns pairs per second of elapsed time and of CPU time, and the parts' ms.

    The first batch warms up and does not count.
    """
    laps, num_pairs, start = Laps(device), 0, None
    for batch in batches:
        laps.mark("reading")
        networks.step(batch, laps.mark)
        if start is None:
            if laps.on_gpu:
                torch.cuda.synchronize()
            start = time.perf_counter(), time.process_time()
        else:
            num_pairs += len(batch)
    if laps.on_gpu:
        torch.cuda.synchronize()
    wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
    return {
        "pairs_per_s": num_pairs / wall,
        "pairs_per_cpu_s": num_pairs / cpu,
        "ms": laps.milliseconds(),
    }


def training(tables, readers, stored, options):
    """Returns the steps on a batch at hand, from the files, and from the cache.

    They take turns, and the best of each counts. Shares of the ceiling are of CPU time where this
    process alone works, and of elapsed time with reading processes or a GPU.
    """
    networks = Networks(options, tables, readers)
    (batch,) = loader_of(tables, stored, options.batch_size, 1, 0)
    held = {"face": batch.face, "voice": batch.voice}
    num_batches = options.batches + 1

    def at_hand():
        for _ in range(num_batches):
            batch.face, batch.voice = held["face"], held["voice"]
            yield batch

    def read_by(of):
        pinned = options.device.startswith("cuda")
        return loader_of(tables, of, options.batch_size, num_batches, options.workers, pinned)

    sources = {
        CEILING: at_hand,
        "files": lambda: read_by(readers),
        "cache": lambda: read_by(stored),
    }
    alone = options.device == "cpu" and not options.workers
    rate = "pairs_per_cpu_s" if alone else "pairs_per_s"
    results = {}
    for _ in range(options.rounds):
        for name, batches in sources.items():
            result = steps(networks, batches(), options.device)
            if name not in results or result[rate] > results[name][rate]:
                results[name] = result
    for result in results.values():
        result["of_ceiling"] = result[rate] / results[CEILING][rate]
    return results


def format_results(results):
    """Returns the tables as text."""
    lines = [f"\n  {'data path, one process':<34}{'pairs/CPU s':>12}{'pairs/s':>10}"]
    for name, result in results["data_path"].items():
        lines.append(
            f"  {name:<34}{result['pairs_per_cpu_s']:>12.0f}{result['pairs_per_s']:>10.0f}"
        )
    lines.append(f"\n  {'training':<34}{'pairs/CPU s':>12}{'pairs/s':>10}{'of ceiling':>12}")
    for name, result in results.get("training", {}).items():
        lines.append(
            f"  {name:<34}{result['pairs_per_cpu_s']:>12.1f}{result['pairs_per_s']:>10.1f}"
            f"{result['of_ceiling']:>12.0%}"
        )
        lines.append(
            "    " + ", ".join(f"{part} {ms:.1f}" for part, ms in result["ms"].items()) + " ms"
        )
    return "\n".join(lines)


def main(argv):
    """Measures and prints; ``--json=FILE`` keeps the figures."""
    parser = argparse.ArgumentParser("benchmark.py training", description=__doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--image_size", type=int, default=224, help="pixels")
    parser.add_argument("--clip_seconds", type=float, default=10.0)
    parser.add_argument("--batch_size", type=int, default=128)
    parser.add_argument("--batches", type=int, default=4, help="that are measured")
    parser.add_argument("--rounds", type=int, default=2, help="of which the best counts")
    parser.add_argument("--people", type=int, default=40, help="of the corpus, 5 clips each")
    parser.add_argument("--workers", type=int, default=0, help="reading processes of the training")
    parser.add_argument("--model", default="resnet34", help="face network of timm")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32")
    parser.add_argument("--data_only", action="store_true", help="no networks")
    for name in ("channels_last", "compile", "fused"):
        parser.add_argument(f"--{name}", action="store_true")
    options = parser.parse_args(argv)
    check_device(options.device)
    resize = round(options.image_size * 8 / 7)
    readers = {
        "face": ImageReader(options.image_size, resize),
        "voice": SpeechReader(options.clip_seconds),
    }
    with tempfile.TemporaryDirectory() as folder:
        tables = make_corpus(folder, options.people)
        stored, built = {}, {}
        for modality, table in zip(readers, tables, strict=True):
            reader, seconds, size = cached(folder, readers[modality], table)
            stored[modality] = reader
            built[modality] = {"clips_per_s": len(table) / seconds, "bytes": size / len(table)}
        results = {"options": vars(options), "cache": built}
        print(
            f"{options.device}, {torch.get_num_threads()} threads, {options.image_size} px, "
            f"{options.clip_seconds:g} s, batch {options.batch_size}, {options.precision}"
        )
        for modality, figures in built.items():
            print(
                f"  {modality} cache: {figures['clips_per_s']:.0f} clips/s to build, "
                f"{figures['bytes'] / 1e3:.0f} kB a clip"
            )
        results["data_path"] = data_path(folder, tables, readers, stored, options)
        if not options.data_only:
            results["training"] = training(tables, readers, stored, options)
        print(format_results(results))
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps(results, indent=1).encode())
