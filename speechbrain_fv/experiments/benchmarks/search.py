"""Galleries beside brute force in torch and faiss: recall, latency, memory, building, saving."""

import json
import math
import multiprocessing
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from speechbrain_fv.files import replacing
from speechbrain_fv.search import Gallery
from speechbrain_fv.search.coded import import_faiss
from speechbrain_fv.search.exact import CHUNK
from speechbrain_fv.search.index import KINDS
from speechbrain_fv.settings.script import Parser

CLIPS_PER_IDENTITY = 20
NEAR, FAR = 0.7, 3.0  # distance of a clip, and of a far query, from its identity's centre
K = 10
TIMED_QUERIES = 100


def made_up_vectors(folder, data, count, dim, num_queries, seed=0):
    """Writes a gallery's vectors and queries as float32 .npy files, a part at a time.

    Arguments
    ---------
    folder : Path
        Gets vectors.npy (count, dim) and near.npy (num_queries, dim), and of identities far.npy.
    data : str
        ``random``: directions without structure. ``identities``: clips of people, about 20 each,
        random directions c plus 0.7 times noise of the norm of c, so that two clips of a person
        have a cosine of 0.67. Queries are further clips of them; far ones lie 3 times the norm of
        c away, at a cosine of 0.26 to the person's clips, like a voice beside faces.
    count, dim, num_queries, seed : int
    """
    rng = np.random.default_rng(seed)
    centres = None
    if data == "identities":
        num_identities = max(1, count // CLIPS_PER_IDENTITY)
        centres = _directions(rng, num_identities, dim)
    vectors = np.lib.format.open_memmap(folder / "vectors.npy", "w+", np.float32, (count, dim))
    for start in range(0, count, CHUNK):
        size = min(CHUNK, count - start)
        vectors[start : start + size] = _clips(rng, centres, size, dim, NEAR)
    vectors.flush()
    np.save(folder / "near.npy", _clips(rng, centres, num_queries, dim, NEAR))
    if centres is not None:
        np.save(folder / "far.npy", _clips(rng, centres, num_queries, dim, FAR))


def _clips(rng, centres, count, dim, spread):
    noise = rng.standard_normal((count, dim), dtype=np.float32)
    if centres is None:
        return noise / np.linalg.norm(noise, axis=1, keepdims=True)
    clips = centres[rng.integers(len(centres), size=count)] + spread / math.sqrt(dim) * noise
    return clips / np.linalg.norm(clips, axis=1, keepdims=True)


def _directions(rng, count, dim):
    return _clips(rng, None, count, dim, 0)


def brute_force(vectors, queries, k):
    """Returns the rows of the k best of unit vectors for each query by torch, a chunk at a time."""
    queries = torch.from_numpy(queries)
    best, rows = [], []
    for start in range(0, len(vectors), CHUNK):
        part = queries @ vectors[start : start + CHUNK].T
        scores, places = part.topk(min(k, part.shape[1]), dim=1)
        best.append(scores)
        rows.append(places + start)
    places = torch.cat(best, 1).topk(k, dim=1).indices
    return torch.cat(rows, 1).gather(1, places).numpy()


def measure_torch(folder):
    """Returns the figures of brute force, and writes the best rows of each file of queries."""
    seconds, vectors = _timed(lambda: torch.from_numpy(np.load(folder / "vectors.npy")))
    for name in _query_files(folder):
        queries = np.load(folder / f"{name}.npy")
        parts = [brute_force(vectors, part, K) for part in _batches(queries)]
        np.save(folder / f"{name}_best.npy", np.concatenate(parts))
    return {
        "load_seconds": seconds,
        "bytes": vectors.numpy().nbytes,
        **_latency(folder, lambda queries: brute_force(vectors, queries, K)),
        "query_peak_gib": _peak_gib(),
    }


def measure_flat(folder):
    """Returns the figures of faiss's IndexFlatIP."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    index = import_faiss().IndexFlatIP(vectors.shape[1])
    seconds, _ = _timed(index.add, vectors)
    figures = {"build_seconds": seconds, "bytes": vectors.nbytes}
    figures |= _latency(folder, lambda queries: index.search(queries, K))
    return {**figures, "query_peak_gib": _peak_gib()}


def measure_build(folder, kind):
    """Returns what building and saving a gallery takes; the gallery stays in the folder."""
    vectors = np.load(folder / "vectors.npy", mmap_mode="r")
    ids = [str(row) for row in range(len(vectors))]
    before = time.process_time()
    build, gallery = _timed(
        Gallery.from_embeddings, "benchmark", face=vectors, face_ids=ids, kind=kind
    )
    cpu = time.process_time() - before
    save, _ = _timed(gallery.save, folder / kind)
    return {
        "build_seconds": build,
        "build_cpu_seconds": cpu,
        "save_seconds": save,
        "build_peak_gib": _peak_gib(),
        "bytes": sum(path.stat().st_size for path in (folder / kind).iterdir()),
    }


def measure_queries(folder, kind):
    """Returns loading time, recall and latency of a gallery that was saved."""
    seconds, gallery = _timed(Gallery.load, folder / kind, "benchmark")
    figures = {"load_seconds": seconds, "recall": {}}
    for name in _query_files(folder):
        queries, best = np.load(folder / f"{name}.npy"), np.load(folder / f"{name}_best.npy")
        found = [ids for part in _batches(queries) for ids in gallery.query_voice(part, K).ids]
        figures["recall"][name] = recall(best, np.array(found).astype(int))
    figures |= _latency(folder, lambda queries: gallery.query_voice(queries, K))
    return {**figures, "query_peak_gib": _peak_gib()}


def recall(best, found):
    """Returns the share of the best rows that were found.

    Example
    -------
    >>> recall(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [3, 9]]))
    0.75
    """
    shares = [len(set(a) & set(b)) / len(a) for a, b in zip(best, found, strict=True)]
    return float(np.mean(shares))


def _query_files(folder):
    return [name for name in ("near", "far") if (folder / f"{name}.npy").exists()]


def _batches(queries):
    return [queries[start : start + 100] for start in range(0, len(queries), 100)]


def _latency(folder, search):
    """Returns wall times in ms: of one query, and of a batch of 100 (the least of three).

    Where others use the same cores, the least is the fairer one of the wall times, and the CPU
    time of all threads together fairer still.
    """
    queries = np.load(folder / "near.npy")[:TIMED_QUERIES]
    search(queries[:1])
    before = time.process_time()
    single = [1000 * _timed(search, queries[i : i + 1])[0] for i in range(len(queries))]
    cpu = time.process_time() - before
    batch = min(1000 * _timed(search, queries)[0] for _ in range(3))
    return {
        "query_cpu_ms": 1000 * cpu / len(queries),
        "query_least_ms": min(single),
        "query_median_ms": float(np.median(single)),
        "query_p95_ms": float(np.percentile(single, 95)),
        "batch_ms": batch,
        "queries_per_second": 1000 * len(queries) / batch,
    }


def _timed(function, *args, **kwargs):
    start = time.perf_counter()
    result = function(*args, **kwargs)
    return time.perf_counter() - start, result


def _peak_gib():
    """Returns the most memory this process has held, with mapped pages of files, in GiB."""
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 2**20


def _in_child(function, *args):
    """Returns the figures that a function measures in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, args)


def measure(data, count, dim, num_queries, kinds):
    """Returns the figures of every method on one gallery, and prints them as they come."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="search-benchmark-") as folder:
        folder = Path(folder)
        made_up_vectors(folder, data, count, dim, num_queries)
        print(f"\n{count:,} vectors of width {dim}, {data}\n{_HEADS}", flush=True)
        for name, function in (("torch", measure_torch), ("faiss flat", measure_flat)):
            figures[name] = _in_child(function, folder)
            print(format_row(name, figures[name]), flush=True)
        for kind in kinds:
            figures[kind] = _in_child(measure_build, folder, kind)
            figures[kind] |= _in_child(measure_queries, folder, kind)
            print(format_row(kind, figures[kind]), flush=True)
    return figures


_COLUMNS = {
    "recall": ("recall@10 (far)", 16),
    "query_cpu_ms": ("CPU ms", 8),
    "query_least_ms": ("least ms", 10),
    "query_median_ms": ("median", 9),
    "query_p95_ms": ("p95", 9),
    "batch_ms": ("100 in ms", 11),
    "bytes": ("GiB", 7),
    "build_peak_gib": ("peak building", 15),
    "query_peak_gib": ("peak search", 13),
    "build_seconds": ("build s", 9),
    "build_cpu_seconds": ("CPU s", 9),
    "save_seconds": ("save s", 8),
    "load_seconds": ("load s", 8),
}
_HEADS = " " * 12 + "".join(f"{head:>{width}}" for head, width in _COLUMNS.values())


def format_row(name, figures):
    """Returns the figures of a method as a line of the table."""
    cells = []
    for key, (_, width) in _COLUMNS.items():
        value = figures.get(key)
        if isinstance(value, dict):
            far = f" ({value['far']:.3f})" if "far" in value else ""
            value = f"{value['near']:.3f}{far}"
        elif value is not None:
            value = value / 2**30 if key == "bytes" else value
            value = f"{value:.2f}"
        cells.append(f"{value or '':>{width}}")
    return f"{name:<12}" + "".join(cells)


def main(argv):
    """Measures every size and prints its tables; ``--json=FILE`` keeps the figures."""
    parser = Parser("benchmark.py search", __doc__)
    parser.add_argument("--sizes", default="10000,1000000", help="vectors, separated by commas")
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--data", default="identities,random", help="of identities, random")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"of {', '.join(KINDS)}")
    parser.add_argument("--num_queries", type=int, default=1000, help="for recall, at least 1")
    parser.add_argument("--json", help="file for the figures")
    options = parser.parse_args(argv)
    kinds, data = _listed("kinds", options.kinds, KINDS), options.data
    data = _listed("data", data, ("identities", "random"))
    sizes = [int(size) for size in options.sizes.split(",") if size.isdecimal()]
    if not sizes or len(sizes) < options.sizes.count(",") + 1 or min(sizes) < K:
        raise ValueError(f"--sizes: expected numbers of at least {K}, got {options.sizes!r}")
    if min(options.dim, options.num_queries) < 1:
        raise ValueError("--dim, --num_queries: expected at least 1")
    import_faiss()
    print(f"{torch.get_num_threads()} threads; recall of {options.num_queries} queries")
    results = [
        {"data": name, "count": count, "dim": options.dim}
        | {"methods": measure(name, count, options.dim, options.num_queries, kinds)}
        for count in sizes
        for name in data
    ]
    if options.json:
        figures = {"threads": torch.get_num_threads(), "sizes": results}
        with replacing(options.json) as file:
            file.write(json.dumps(figures, indent=1).encode() + b"\n")


def _listed(name, text, known):
    given = text.split(",")
    if not set(given) <= set(known):
        raise ValueError(f"--{name}: expected some of {', '.join(known)}, got {text!r}")
    return given


if __name__ == "__main__":
    main(sys.argv[1:])
