"""VoxCeleb2: voices as .m4a or converted, faces by VoxCeleb2 or VGGFace2 id."""

import hashlib
import os
from functools import partial
from pathlib import Path

import pandas as pd

from speechbrain_fv.corpora.repeats import at_once_if_unchanged
from speechbrain_fv.corpora.voxceleb_layout import identity_folders, roots, shown_files
from speechbrain_fv.data.manifests import cache_key, is_prepared, write_manifests
from speechbrain_fv.data.schema import check_columns, named
from speechbrain_fv.data.splits import check_people
from speechbrain_fv.files import read_table
from speechbrain_fv.media.kinds import kind_by_name
from speechbrain_fv.media.transcoding import require_ffmpeg, transcode
from speechbrain_fv.messages import progress_bar

META_COLUMNS = {
    "VoxCeleb2 ID": "identity",
    "VGGFace2 ID": "vggface2",
    "Gender": "gender",
    "Set": "set",
}
COMPRESSED = (".m4a", ".aac", ".mp4")
SETS = ("dev", "test")


@at_once_if_unchanged
def prepare_voxceleb2(
    manifest_folder,
    voices_folder,
    faces_folder,
    meta_csv,
    scanner,
    valid_share=0.02,
    least_people=2,
):
    """Write the manifests of VoxCeleb2; a voice that is .m4a is decoded by ffmpeg, once.

    People of the published test set are the test split; of those of dev, a share by the SHA-256 of
    the id validates.

    Arguments
    ---------
    manifest_folder : path
        Where to write; nothing is done when it is up to date.
    voices_folder : path or list of path
        With `idNNNNN/<video>/<number>.m4a` below, as in `dev/aac` and `test/aac`; or in any format
        that is read.
    faces_folder : path or list of path
        With `idNNNNN/<video>/*.jpg`, or `nNNNNNN/*.jpg` as in VGGFace2, below.
    meta_csv : path
        `vox2_meta.csv`: VoxCeleb2 ID, VGGFace2 ID, Gender, Set.
    scanner : Scanner
        Which files are usable; decoded voices lie in its cache folder.
    valid_share : float
        Share of the people of dev for validation, above 0 and below 1.
    least_people : int
        People with a face and a voice that every split must have.

    Raises
    ------
    ValueError
        If a path or the meta file is wrong, there is no ffmpeg for .m4a, a split has too few
        people, or too many files are unusable (`Scanner`).
    """
    folders = roots(voices_folder, "voices_folder"), roots(faces_folder, "faces_folder")
    if not 0 < valid_share < 1:
        raise ValueError(f"valid_share: expected a share above 0 and below 1, got {valid_share!r}")
    meta = read_meta2(meta_csv)
    voices, faces = list_voices2(folders[0], meta), list_faces2(folders[1], meta)
    options = {
        "voices_folder": ",".join(map(str, folders[0])),
        "faces_folder": ",".join(map(str, folders[1])),
        "meta_csv": os.path.abspath(meta_csv),
        "valid_share": valid_share,
        **scanner.criteria,
    }
    key = cache_key(options, [meta_csv, *faces.image, *voices.wav])
    if is_prepared(manifest_folder, key):
        return
    identities = meta.drop(columns=["vggface2", "set"]).assign(split=split_of(meta, valid_share))
    complete = set(faces.spk_id) & set(voices.spk_id)
    check_people(identities, complete, least_people, ", ".join(map(str, folders[0])))
    voices = voices[voices.spk_id.isin(complete)]
    voices, num_decoded = decoded_voices(voices, scanner)
    faces = faces[faces.spk_id.isin(complete)]
    faces, voices, excluded = scanner.select(faces, voices, manifest_folder)
    notes = {"listed": len(meta), "on_disk": len(complete), "decoded_by_ffmpeg": num_decoded}
    write_manifests(
        manifest_folder, faces, voices, identities, "voxceleb2", key, options, excluded, notes
    )


def read_meta2(meta_csv):
    """The identities of VoxCeleb2: columns identity, vggface2, gender and set (dev or test).

    Raises
    ------
    ValueError
        If the file is absent, lacks a column, repeats an identity or has another set.
    """
    meta = read_table(meta_csv)
    meta = check_columns(meta, list(META_COLUMNS), meta_csv).rename(columns=META_COLUMNS)
    meta = meta[list(META_COLUMNS.values())].apply(lambda column: column.str.strip())
    wrong = meta.identity.duplicated() | ~meta.set.isin(SETS)
    if wrong.any():
        row = meta[wrong].iloc[0]
        raise ValueError(
            f"{meta_csv}, line {meta.index[wrong][0] + 2}: expected every id once, with the set "
            f"{' or '.join(SETS)}, got {row.identity} {row.set!r}"
        )
    return meta


def split_of(meta, valid_share):
    """The split of every person of the meta file: test, or of dev by the hash of the id.

    Example
    -------
    >>> people = pd.DataFrame({"identity": ["id00012", "id00017"], "set": ["dev", "test"]})
    >>> split_of(people, 0.02).tolist()
    ['train', 'test']
    """
    hashes = meta.identity.map(lambda name: hashlib.sha256(name.encode()).hexdigest())
    shares = hashes.map(lambda text: int(text[:13], 16) / 16**13)
    splits = shares.lt(valid_share).map({True: "valid", False: "train"})
    return splits.mask(meta.set == "test", "test")


def list_voices2(folders, meta):
    """All voices of known people: columns ID, wav, spk_id and video, in order of ID."""
    known = set(meta.identity)
    rows = []
    for folder in folders:
        for identity, place in identity_folders(folder, _among(known))[0]:
            for file in shown_files(place, "*/*"):
                is_voice = kind_by_name(file.name) == "voice" or file.suffix.lower() in COMPRESSED
                if is_voice and not file.name.startswith("."):
                    parts = (identity, file.parent.name, file.stem)
                    rows.append(("--".join(parts), str(file), identity, file.parent.name))
    columns = ["ID", "wav", "spk_id", "video"]
    return _checked(
        rows, columns, folders, "voices_folder", "idNNNNN/<video>/<number>.m4a, .wav or .flac"
    )


def list_faces2(folders, meta):
    """All faces of known people: columns ID, image, spk_id and video ("" of a still)."""
    identity_of = dict(zip(meta.identity, meta.identity, strict=True))
    identity_of.update(zip(meta.vggface2, meta.identity, strict=True))
    rows = []
    for folder in folders:
        for identity, place in identity_folders(folder, identity_of.get)[0]:
            for file in shown_files(place, "*", "*/*"):
                if kind_by_name(file.name) == "face":
                    parts = file.relative_to(place).parts
                    video = parts[0] if len(parts) > 1 else ""
                    rows.append(("--".join((identity, *parts)), str(file), identity, video))
    columns = ["ID", "image", "spk_id", "video"]
    return _checked(
        rows, columns, folders, "faces_folder", "idNNNNN/<video>/*.jpg or nNNNNNN/*.jpg"
    )


def decoded_voices(voices, scanner):
    """The voices with files that can be read, and how many of them ffmpeg made.

    One that ffmpeg cannot decode keeps its path; the scan then leaves it out with the reason.

    Arguments
    ---------
    voices : pandas.DataFrame
        From `list_voices2`.
    scanner : Scanner
        Its cache folder gets `voxceleb2/<hash>/idNNNNN/<video>/<number>.flac`, with a hash of the
        voices folder's path: equal names of two copies of the corpus are two files.

    Returns
    -------
    tuple of (pandas.DataFrame, int)

    Raises
    ------
    ValueError
        If there is no ffmpeg.
    """
    packed = voices.wav.str.lower().str.endswith(COMPRESSED)
    if not packed.any():
        return voices, 0
    sources = voices.wav[packed]
    require_ffmpeg(str(Path(sources.iloc[0]).parents[2]))
    place = Path(os.path.abspath(scanner.cache_folder), "voxceleb2")
    targets = sources.map(lambda source: str(place / _below(source)))
    bar = partial(progress_bar, total=len(sources), desc="decoding voices", unit="file")
    faults = transcode(sources.tolist(), targets.tolist(), scanner.num_workers, bar=bar)
    made = ~sources.isin(faults.keys())
    return voices.assign(wav=voices.wav.mask(packed & made, targets)), int(made.sum())


def _below(source):
    """Returns where the voice `<voices folder>/idNNNNN/<video>/<number>.m4a` goes in the cache."""
    folder = os.path.realpath(Path(source).parents[2])
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:12]
    return Path(name, *Path(source).parts[-3:]).with_suffix(".flac")


def _among(known):
    return lambda name: name.lower() if name.lower() in known else None


def _checked(rows, columns, folders, option, expected):
    if not rows:
        raise ValueError(
            f"{option} {', '.join(map(str, folders))}: no file {expected} of a person in the meta "
            "file; give the folder that contains the folders of ids"
        )
    table = pd.DataFrame(rows, columns=columns)
    repeated = table[table.ID.duplicated(keep=False)]
    if len(repeated):
        raise ValueError(
            f"{option}: {named(repeated[columns[1]])} are one clip, {repeated.ID.iloc[0]}; keep "
            "one of them, or name the folder of one alone"
        )
    return table.sort_values("ID", ignore_index=True)
