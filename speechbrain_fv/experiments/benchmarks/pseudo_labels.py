"""Pseudo-labels beside scikit-learn and faiss: time per step and inertia on the same features."""

import functools
import importlib
import json
import statistics
import time

import torch

from speechbrain_fv.evaluation.exact import check_device
from speechbrain_fv.files import replacing
from speechbrain_fv.pseudo_labels import (
    PseudoLabeler,
    canonical_order,
    geometric_median,
    kmeans,
    rank_clusters,
    scale_columns,
)
from speechbrain_fv.pseudo_labels.labeler import CLUSTERS
from speechbrain_fv.settings.script import Parser
from speechbrain_fv.shipped import install_command

NUM_IDENTITIES = 80
# Batch, width, set of q, batches of features.
SIZES = (
    (128, 256, (8, 32, 64), 20),
    (1024, 256, (8, 32, 64), 4),
    (4096, 512, (64, 128, 256), 2),
)


def features(kind, batch_size, dim, seed):
    """Returns a batch of faces and voices, shape (2, B, K), in (-1, 1) as CMWR leaves them.

    Arguments
    ---------
    kind : str
        ``identities``: pairs of 80 people, each a direction that both modalities share, and noise;
        ``noise``: noise alone, as from an untrained network.
    batch_size, dim : int
        B and K.
    seed : int

    Example
    -------
    >>> features("noise", 4, 3, seed=0).shape
    torch.Size([2, 4, 3])
    """
    rng = torch.Generator().manual_seed(seed)
    points = torch.randn(2, batch_size, dim, generator=rng)
    if kind == "identities":
        people = torch.randn(NUM_IDENTITIES, dim, generator=rng)
        points = people[torch.randint(NUM_IDENTITIES, (batch_size,), generator=rng)] + points / 2
    return torch.tanh(points)


def cluster_scikit_learn(points, num_clusters, seed):
    """One greedy k-means++ run of scikit-learn per problem; labels of shape (n, P, B)."""
    estimator = importlib.import_module("sklearn.cluster").KMeans
    runs = [
        torch.from_numpy(estimator(q, n_init=1, random_state=seed).fit(x).labels_).long()
        for q in num_clusters
        for x in points.cpu().numpy()
    ]
    return torch.stack(runs).view(len(num_clusters), len(points), -1)


def cluster_faiss(points, num_clusters, seed):
    """faiss's K-means, seeded at random as it is, 25 iterations; labels of shape (n, P, B)."""
    faiss = importlib.import_module("faiss")
    labels = []
    for q in num_clusters:
        for x in points.cpu().numpy():
            run = faiss.Kmeans(
                x.shape[1], q, niter=25, seed=seed, min_points_per_centroid=1,
                max_points_per_centroid=len(x),
            )  # fmt: skip
            run.train(x)
            labels.append(torch.from_numpy(run.index.search(x, 1)[1][:, 0]))
    return torch.stack(labels).view(len(num_clusters), len(points), -1)


def cluster_loop(points, num_clusters, seed):
    """Our K-means, one problem after the other; labels of shape (n, P, B)."""
    rng = torch.Generator().manual_seed(seed)
    runs = [[kmeans(x.unsqueeze(0), [q], rng)[0][0, 0] for x in points] for q in num_clusters]
    return torch.stack([torch.stack(run) for run in runs])


def cluster_batched(points, num_clusters, seed):
    """Our K-means, all problems at once; labels of shape (n, P, B)."""
    return kmeans(points, num_clusters, torch.Generator().manual_seed(seed))[0]


def cluster_paired(points, num_clusters, seed):
    """Our K-means, the same rows seeding every set; labels of shape (n, P, B)."""
    return kmeans(points, num_clusters, torch.Generator().manual_seed(seed), same_rows=True)[0]


METHODS = {
    "scikit-learn": cluster_scikit_learn,
    "faiss": cluster_faiss,
    "torch loop": cluster_loop,
    "ours": cluster_batched,
}
# How the labeler poses the problem: its clusters -> the methods that solve it.
PROBLEMS = {
    "separate or paired": METHODS | {"ours, paired": cluster_paired},
    "shared": METHODS,
}


def inertias(points, labels):
    """Returns the sum of squared distances to the own cluster's mean, of every problem.

    Arguments
    ---------
    points : torch.Tensor, shape (P, B, K)
    labels : torch.Tensor of int64, shape (n, P, B)

    Returns
    -------
    inertias : torch.Tensor of float64, shape (n, P)

    Example
    -------
    >>> inertias(torch.tensor([[[0.0], [2.0]], [[0.0], [4.0]]]), torch.zeros(1, 2, 2).long())
    tensor([[2., 8.]], dtype=torch.float64)
    """
    points = points.double().cpu().expand(len(labels), -1, -1, -1)  # (n, P, B, K)
    index = labels.cpu().unsqueeze(3).expand_as(points)
    means = torch.zeros_like(points).scatter_reduce(2, index, points, "mean", include_self=False)
    return (points - means.gather(2, index)).square().sum(dim=(2, 3))


def clock(run, device, repeats=5):
    """Returns the result of the last run, and wall and CPU ms of all, after a warm one."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter(), time.process_time()
        result = run()
        if device.startswith("cuda"):
            torch.cuda.synchronize(device)
        end = time.perf_counter(), time.process_time()
        times.append([1e3 * (after - before) for before, after in zip(start, end, strict=True)])
    return result, times[1:]


def summary(times):
    """Returns median and least wall time, and median CPU time of all threads, in ms.

    Where others use the same cores, the least is the fairer one of the wall times.
    """
    walls, cpus = zip(*times, strict=True)
    return {
        "median_ms": statistics.median(walls),
        "least_ms": min(walls),
        "cpu_ms": statistics.median(cpus),
    }


@torch.no_grad()
def compare_methods(problem, kind, batch_size, dim, num_clusters, num_batches, device):
    """Returns for every method its time per step and its inertia, in shares of scikit-learn's.

    The problem "shared" is one set of 2B points, the other one two sets of B; see `PROBLEMS`.

    The methods take turns on each batch, so that what else the machine does meets all of them.
    A method whose package is absent has the entry ``missing``, with what to install.
    """
    methods = PROBLEMS[problem]
    times = {name: [] for name in methods}
    sums = {name: [] for name in methods}
    missing = {}
    for seed in range(num_batches):
        points = scale_columns(features(kind, batch_size, dim, seed).to(device))
        if problem == "shared":
            points = points.flatten(0, 1).unsqueeze(0)
        for name in [name for name in methods if name not in missing]:
            try:
                run = functools.partial(methods[name], points, num_clusters, seed)
                labels, batch_times = clock(run, device, repeats=3 if batch_size <= 256 else 1)
            except ImportError as error:
                missing[name] = f"no module {error.name}: {install_command('benchmark')}"
                continue
            times[name] += batch_times
            sums[name].append(inertias(points, labels))
    results = {}
    for name in methods:
        if name in missing:
            results[name] = {"missing": missing[name]}
            continue
        results[name] = summary(times[name])
        if "scikit-learn" not in missing:
            ratios = torch.stack(sums[name]).mean(0) / torch.stack(sums["scikit-learn"]).mean(0)
            results[name]["inertia"] = {
                f"q{q}": ratio
                for q, ratio in zip(num_clusters, ratios.mean(1).tolist(), strict=True)
            }
    return results


@torch.no_grad()
def time_parts(batch_size, dim, num_clusters, device, repeats=20):
    """Returns the times of the parts of a label step and of the whole step, in ms.

    Parts are of separate clusters, the default; shares are of their whole step.
    """
    face, voice = features("identities", batch_size, dim, 0).to(device)
    points = scale_columns(torch.stack([face, voice]))
    rng = torch.Generator().manual_seed(0)
    labels, centres = kmeans(points, num_clusters, rng)
    median = geometric_median(points)
    labelers = {
        name: PseudoLabeler(num_clusters, dim, clusters=name).to(device) for name in CLUSTERS
    }
    parts = {
        "scale and order": lambda: canonical_order(scale_columns(points)),
        "geometric median": lambda: geometric_median(points),
        "K-means": lambda: kmeans(points, num_clusters, rng),
        "ranking": lambda: [
            rank_clusters(*clustering, median) for clustering in zip(labels, centres, strict=True)
        ],
        "label step": lambda: labelers["separate"](face, voice, rng),
        "label step, paired": lambda: labelers["paired"](face, voice, rng),
        "label step, shared": lambda: labelers["shared"](face, voice, rng),
    }
    results = {name: summary(clock(part, device, repeats)[1]) for name, part in parts.items()}
    for result in results.values():
        result["share"] = result["least_ms"] / results["label step"]["least_ms"]
    return results


def time_training_step(batch_size, dim, device):
    """Returns the time in ms of one training step of the encoders, without pseudo-labels.

    ResNet-34 on 224 x 224 images and DIMNet-voice on 10 s of MFCC, forward, backward and Adam.
    """
    encoders = importlib.import_module("speechbrain_fv.encoders")
    timm = importlib.import_module("timm")
    face = timm.create_model("resnet34", num_classes=dim).to(device)
    voice = encoders.DimnetVoice(64, dim).to(device)
    optimizer = torch.optim.Adam([*face.parameters(), *voice.parameters()])
    images = torch.randn(batch_size, 3, 224, 224, device=device)
    frames = torch.randn(batch_size, 1001, 64, device=device)

    def step():
        loss = (face(images) - voice(frames)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return summary(clock(step, device)[1])


def _row(name, result):
    if "missing" in result:
        return f"    {name:<30}{result['missing']}"
    columns = [f"{result[key]:>11.2f}" for key in ("median_ms", "least_ms", "cpu_ms")]
    columns += [f"{value:>8.3f}" for value in result.get("inertia", {}).values()]
    columns += [f"{result['share']:>8.0%}"] if "share" in result else []
    return f"    {name:<30}" + "".join(columns)


def format_size(size):
    """Returns the tables of one size as text."""
    heads = f"{'median ms':>11}{'least ms':>11}{'CPU ms':>11}"
    clusters = "".join(f"{f'q = {q}':>8}" for q in size["num_clusters"])
    lines = [f"\n{size['batch_size']} x {size['dim']}, two modalities"]
    for kind, methods in size["methods"].items():
        lines.append(f"  {kind:<32}{heads}{clusters}  (inertia / scikit-learn's)")
        lines += [_row(name, result) for name, result in methods.items()]
    lines.append(f"  {'one label step':<32}{heads}   share")
    lines += [_row(name, result) for name, result in size["parts"].items()]
    return "\n".join(lines)


def main(argv):
    """Measures every size and prints its table; ``--json=FILE`` keeps the figures."""
    parser = Parser("benchmark.py pseudo-labels", __doc__)
    parser.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N")
    parser.add_argument("--json", help="file for the figures")
    parser.add_argument("--max_batch", type=int, default=4096, help="leave larger sizes out")
    options = parser.parse_args(argv)
    check_device(options.device)
    print(f"{options.device}, {torch.get_num_threads()} threads")
    results = []
    for batch_size, dim, num_clusters, num_batches in SIZES:
        if batch_size > options.max_batch:
            continue
        size = {"batch_size": batch_size, "dim": dim, "num_clusters": num_clusters}
        shape = (batch_size, dim, num_clusters)
        size["methods"] = {
            f"{kind}, {problem}": compare_methods(
                problem, kind, *shape, num_batches, options.device
            )
            for problem in PROBLEMS
            for kind in ("identities", "noise")
        }
        repeats = 20 if batch_size <= 256 else 3
        size["parts"] = time_parts(*shape, options.device, repeats)
        if options.device.startswith("cuda") and batch_size <= 256:
            step = time_training_step(batch_size, dim, options.device)
            step["share"] = step["least_ms"] / size["parts"]["label step"]["least_ms"]
            size["parts"]["training step"] = step
        print(format_size(size), flush=True)
        results.append(size)
    if options.json:
        with replacing(options.json) as file:
            file.write(json.dumps({"device": options.device, "sizes": results}, indent=1).encode())
