"""How fast training pairs are read: the project's loader beside plain readers of the same files."""

import copy
import functools
import io
import tarfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from PIL import Image
from torchvision import io as vision
from torchvision import transforms

from speechbrain_fv.data.features import row_name
from speechbrain_fv.data.media_cache import CachedReader, MediaStore
from speechbrain_fv.data.pairs import clip_dataset, training_loader
from speechbrain_fv.data.readers import ImageReader
from speechbrain_fv.data.samplers import PairSampler
from speechbrain_fv.media.audio import AudioFile
from speechbrain_fv.media.images import decode_image
from speechbrain_fv.training.media_cache import fill

RATE = 16000
LARGE = 800  # pixels; every tenth image of VGGFace is about as large
IMAGE_SIDES, SECONDS = (200, 300), (5.0, 20.0)  # of the other images, and of the clips


def make_corpus(folder, num_people, clips_each=5, seed=0):
    """Writes faces and voices; returns their tables, with the columns of manifests.

    Example
    -------
    >>> faces, voices = make_corpus(getfixture("tmp_path"), num_people=1, clips_each=2)
    >>> len(faces), voices.wav[0].endswith("id10000/video/00000.wav")
    (2, True)
    """
    rng = np.random.default_rng(seed)
    faces, voices = [], []
    for person in range(num_people):
        for clip in range(clips_each):
            side = LARGE if (person * clips_each + clip) % 10 == 9 else rng.integers(*IMAGE_SIDES)
            path = Path(folder, "vggface", f"Person_{person}", "1.6", "video", f"{clip:07}.jpg")
            path.parent.mkdir(parents=True, exist_ok=True)
            blocks = rng.integers(0, 256, (24, 24, 3), np.uint8)
            Image.fromarray(blocks).resize((side, side), Image.BICUBIC).save(path, quality=92)
            identity, video = f"id1{person:04}", f"{person}"
            faces.append((f"f{person}-{clip}", str(path), identity, video))
            num_samples = int(rng.uniform(*SECONDS) * RATE)
            path = Path(folder, "vox1", "wav", identity, "video", f"{clip:05}.wav")
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, 0.1 * rng.standard_normal(num_samples), RATE)
            voices.append((f"v{person}-{clip}", str(path), 0, num_samples, identity, "", video))
    return (
        pd.DataFrame(faces, columns=["ID", "image", "spk_id", "video"]),
        pd.DataFrame(voices, columns=["ID", "wav", "start", "stop", "spk_id", "speech", "video"]),
    )


def cached(folder, reader, table):
    """The reader from a cache of a table's clips, and the seconds and bytes that it took."""
    start = time.perf_counter()
    kind, dtype = ("face", "uint8") if isinstance(reader, ImageReader) else ("voice", "int16")
    store = MediaStore(Path(folder, f"{kind}-cache"), {"dtype": dtype})
    wanted = {
        row["ID"]: ([row_name(row["ID"])], {name: row[name] for name in reader.takes})
        for row in table.to_dict("records")
    }
    fill(store, wanted, reader)
    rows = store.rows([name for (name,), _ in wanted.values()])
    by_clip = {clip: rows[name] for clip, ((name,), _) in wanted.items()}
    size = store.vectors_path.stat().st_size
    return CachedReader(reader, store.arrays(), by_clip), time.perf_counter() - start, size


class PlainPairs(torch.utils.data.Dataset):
    """The peer: PIL and soundfile, as a first recipe reads pairs; normalised floats."""

    def __init__(self, faces, voices, faces_reader, voices_reader):
        self.faces, self.voices = faces.image.tolist(), voices.wav.tolist()
        self.num_samples = voices_reader.num_samples
        self.transform = transforms.Compose(
            [
                transforms.Resize(faces_reader.resize),
                transforms.RandomCrop(faces_reader.image_size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                transforms.Normalize(faces_reader.mean, faces_reader.std),
            ]
        )

    def __len__(self):
        return len(self.faces)

    def __getitem__(self, pair):
        face, voice, _ = pair
        image = self.transform(Image.open(self.faces[face]).convert("RGB"))
        samples, _ = soundfile.read(self.voices[voice], dtype="float32")
        start = np.random.randint(max(len(samples) - self.num_samples, 0) + 1)
        window = np.resize(samples[start : start + self.num_samples], self.num_samples)
        return image, torch.from_numpy(window)


def reduced(reader):
    """Returns an image reader as another, but JPEGs are decoded at 1/2, 1/4 or 1/8 of their size.

    The least of them that is not below the length to which the image is resized.
    """
    other = copy.copy(reader)

    def stored(path):
        image = Image.open(path)
        image.draft("RGB", (reader.resize, reader.resize))
        return reader.resized(torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1))

    other.stored = stored
    return other


def write_shard(path, faces, voices, face_reader):
    """One tar with a JPEG, resized, and the samples of each pair, as WebDataset has them."""
    with tarfile.open(path, "w") as shard:
        for face, voice in zip(faces.image, voices.wav, strict=True):
            pixels = face_reader.stored(face).permute(1, 2, 0).contiguous().numpy()
            jpeg = io.BytesIO()
            Image.fromarray(pixels).save(jpeg, "JPEG", quality=92)
            samples = soundfile.read(voice, dtype="int16")[0].tobytes()
            for name, content in ((f"{face}.jpg", jpeg.getvalue()), (f"{voice}.pcm", samples)):
                entry = tarfile.TarInfo(Path(name).name)
                entry.size = len(content)
                shard.addfile(entry, io.BytesIO(content))


def read_shard(path, face_reader, voice_reader, num_pairs):
    """Reads pairs from front to back of a tar, as WebDataset does; decodes, crops and cuts."""
    read = 0
    while read < num_pairs:
        with tarfile.open(path, "r|") as shard:
            for number, entry in enumerate(shard):
                content = shard.extractfile(entry).read()
                if number % 2 == 0:
                    pixels = vision.decode_image(
                        torch.frombuffer(bytearray(content), dtype=torch.uint8)
                    )
                    face_reader.view(pixels, read).contiguous()
                else:
                    samples = torch.frombuffer(bytearray(content), dtype=torch.int16)
                    voice_reader.view(samples, read)
                    read += 1
                    if read == num_pairs:
                        return


def rates(run, num_pairs, repeats=3):
    """Returns pairs per second of CPU and of elapsed time, the best of some runs after a warm one.

    Where others use the same cores, elapsed times say little.
    """
    run()
    cpu, wall = [], []
    for _ in range(repeats):
        start = time.process_time(), time.perf_counter()
        run()
        cpu.append(time.process_time() - start[0])
        wall.append(time.perf_counter() - start[1])
    return {"pairs_per_cpu_s": num_pairs / min(cpu), "pairs_per_s": num_pairs / min(wall)}


def loader_of(tables, readers, batch_size, num_batches, num_workers, pin_memory=False):
    """The project's own loader of training pairs."""
    sets = [
        clip_dataset(table, modality, readers[modality], {})
        for modality, table in zip(("face", "voice"), tables, strict=True)
    ]
    sampler = PairSampler(*tables, batch_size, num_batches)
    return training_loader(*sets, sampler, num_workers, pin_memory)


def data_path(folder, tables, readers, stored, options):
    """Returns what each way to read pairs delivers, in this process alone."""
    num_pairs = options.batch_size * options.batches
    faces, voices = tables
    plain = PlainPairs(faces, voices, *readers.values())
    rng = np.random.default_rng(0)
    drawn = rng.integers(len(faces), size=(num_pairs, 2)).tolist()
    batches = [
        [(face, voice, 0) for face, voice in drawn[first : first + options.batch_size]]
        for first in range(0, num_pairs, options.batch_size)
    ]
    peer = torch.utils.data.DataLoader(plain, batch_sampler=batches)
    shard = Path(folder, "shard.tar")
    write_shard(shard, faces, voices, readers["face"])
    columns = [faces.image.tolist(), faces.to_dict("records"), voices.to_dict("records")]

    def decoding():
        for face, voice in drawn:
            decode_image(columns[0][face])
            row = columns[2][voice]
            with AudioFile(row["wav"]) as file:
                file.read(0, readers["voice"].num_samples)

    ways = {
        "decoding of the files alone": decoding,
        "plain Dataset (PIL, soundfile)": lambda: list(peer),
        "tar shard, read in its order": functools.partial(
            read_shard, shard, *readers.values(), num_pairs
        ),
        "files": lambda: list(loader_of(tables, readers, options.batch_size, options.batches, 0)),
        "files, JPEG at reduced size": lambda: list(
            loader_of(
                tables,
                {**readers, "face": reduced(readers["face"])},
                options.batch_size,
                options.batches,
                0,
            )
        ),
        "cache": lambda: list(loader_of(tables, stored, options.batch_size, options.batches, 0)),
    }
    return {name: rates(way, num_pairs) for name, way in ways.items()}
