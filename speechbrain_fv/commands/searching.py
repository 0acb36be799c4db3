"""`search`: galleries on disk."""

from pathlib import Path

from speechbrain_fv.arrays import read_arrays
from speechbrain_fv.commands.embedding import encoded, left_out_count
from speechbrain_fv.commands.matching import encoded_person, person_of
from speechbrain_fv.commands.models import cautioned, described, load_model
from speechbrain_fv.commands.output import Outcome, ranking_lines
from speechbrain_fv.files import only_process
from speechbrain_fv.inference.people import MEASURED, kind_of
from speechbrain_fv.names import names_of
from speechbrain_fv.search import Gallery, sources, store
from speechbrain_fv.search.coded import import_faiss


def build(options):
    """Makes a gallery of a folder, a CSV or a file of embeddings."""
    if Path(options.gallery, store.MANIFEST).exists() and not options.replace:
        raise ValueError(f"{options.gallery}: there is a gallery; pass --replace, or add to it")
    if Path(options.gallery).is_file():
        raise ValueError(
            f"{options.gallery}: a file, expected the name of a folder for the gallery"
        )
    if options.kind == "coded":
        import_faiss()  # fails before hours of encoding if faiss is missing
    with only_process(options.gallery):
        model = load_model(options)
        gallery = Gallery(model, kind=options.kind)
        left_out = _fill(gallery, model, options)
        if not len(gallery):
            raise ValueError(f"no file can be used; the first: {left_out[0][1]}")
        gallery.save(options.gallery)
    return cautioned(model, _outcome(options.gallery, gallery, left_out))


def add(options):
    """Adds a folder, a CSV or a file of embeddings to a gallery."""
    model = load_model(options)
    with store.changing(options.gallery):
        gallery = Gallery.load(options.gallery, model)
        left_out = _fill(gallery, model, options)
        gallery.save(options.gallery)
    return cautioned(model, _outcome(options.gallery, gallery, left_out))


def remove(options):
    """Removes the faces and voices with some ids."""
    with store.changing(options.gallery):
        gallery = Gallery.load(options.gallery, _version(options.gallery))
        gallery.remove(options.ids)
        gallery.save(options.gallery)
    return _outcome(options.gallery, gallery)


def query(options):
    """Finds the faces for a voice, or the voices for a face."""
    probe = person_of(options.probe, options.also)
    kind = kind_of(probe, "skip" if options.skip_broken else "raise")
    model, left_out = load_model(options), [] if options.skip_broken else None
    gallery = Gallery.load(options.gallery, model)
    weights = MEASURED if options.weighted else None
    asked = encoded_person(model, kind, probe, weights, options, left_out)
    find = gallery.query_face if kind == "face" else gallery.query_voice
    ids, scores = find(asked.embeddings[0], options.k)
    probabilities = model.calibration.probability(scores).tolist()
    hits = [
        {"rank": rank, "id": name, "score": score, "probability": probability}
        for rank, (name, score, probability) in enumerate(
            zip(ids, scores.tolist(), probabilities, strict=True), start=1
        )
    ]
    data = {
        "gallery": options.gallery,
        "probe": options.probe,
        "probe_kind": kind,
        "num_probe_files": asked.num_clips[0],
        "hits": hits,
        "threshold": model.threshold,
        "model": described(model),
    }
    return cautioned(model, Outcome(data, ranking_lines(hits, "id"), left_out or []))


def info(options):
    """Tells what a gallery holds."""
    version = _version(options.gallery)
    return _outcome(options.gallery, Gallery.load(options.gallery, version, verify=options.check))


def _version(folder):
    with store.opened(folder) as manifest:
        return manifest["model_version"]


def _fill(gallery, model, options):
    """Adds what the option `source` names; returns what was left out."""
    source, left_out = options.source, []
    if Path(source).suffix.lower() == ".npz":
        arrays = sources.in_npz(source)
        _check_version(source, model)
        for modality in ("face", "voice"):
            if modality in arrays:
                vectors = sources.as_array(modality, arrays[modality], axes=(2,))
                rows = [f"{modality} {row}" for row in range(len(vectors))]
                ids = arrays.get(f"{modality}_ids", rows)
                if options.people:
                    ids, vectors = _people_of(source, modality, vectors, model, options)
                getattr(gallery, f"add_{modality}")(ids, vectors)
        return left_out
    if Path(source).is_dir():
        listed, unused = sources.in_folder(source)
        left_out += [(clip.id, clip.reason) for clip in unused]
    else:
        listed = sources.in_csv(source)
    people = sources.people_in(source, listed) if options.people else None
    for modality, media in listed.items():
        if media:
            measured = [] if people and options.weighted else None
            ids, vectors, skipped = encoded(model, modality, media, options, measured)
            if people and ids:
                owners = [people[name] for name in ids]
                ids, vectors = sources.by_person(vectors, owners, measured, model.score)
            getattr(gallery, f"add_{modality}")(ids, vectors)
            left_out += skipped
    return left_out


def _people_of(path, modality, vectors, model, options):
    """Returns the people of a file of embeddings, and one embedding of each."""
    names = [f"{modality}_identity", f"{modality}_weight"]
    arrays, found = read_arrays(path, names)
    if arrays.get(names[0]) is None or arrays[names[0]].shape != (len(vectors),):
        raise ValueError(
            f"{path}: --people: expected the array {names[0]}, one name per {modality}, found "
            f"{', '.join(found)}; embed a CSV with the column identity"
        )
    weights = arrays.get(names[1]) if options.weighted else None
    people = names_of(arrays[names[0]], f"{path}: {names[0]}")
    return sources.by_person(vectors, people, weights, model.score)


def _check_version(path, model):
    """Raises ValueError if a file of embeddings says that another model made it."""
    arrays, _ = read_arrays(path, ["model_version"])
    version = str(arrays.get("model_version", model.version))
    if version != model.version:
        raise ValueError(
            f"{path}: made by model version {version!r}, the model is version {model.version!r}; "
            "embed the files again"
        )


def _outcome(folder, gallery, left_out=()):
    data = {
        "gallery": folder,
        "num_faces": len(gallery.shelves["face"]),
        "num_voices": len(gallery.shelves["voice"]),
        "index": {name: shelf.index.kind for name, shelf in gallery.shelves.items()},
        "embedding_dim": gallery.embedding_dim,
        "model_version": gallery.version,
    }
    line = (
        f"{folder}: {data['num_faces']} faces ({data['index']['face']}), {data['num_voices']} "
        f"voices ({data['index']['voice']}), model version {gallery.version}"
        f"{left_out_count(left_out)}"
    )
    return Outcome(data, [line], list(left_out))
