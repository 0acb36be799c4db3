"""The options of all commands; imports nothing that takes time."""

import argparse
import sys

from speechbrain_fv import __version__

EXIT_CODES = (
    "exit codes: 0 done; 1 done, but some files were left out; 2 a mistake; 130 interrupted"
)
DESCRIPTION = "Trains and uses models of faces and voices. For research and teaching: they err."
RECIPES = {
    "train": ("trains a model and evaluates it", "bipcm_fst.yaml --output_folder=results/mine"),
    "evaluate": ("scores embeddings of any method", "evaluate.yaml --embeddings=E.npz"),
    "compare": ("compares two reports, paired over people", "RUN_A RUN_B"),
    "figures": ("draws the figures of a run again", "results/mine"),
    "compare_methods": ("compares methods on one corpus", "comparison.yaml --only=infonce,ssos"),
    "ablate": ("trains grids of variants", "ablations.yaml --grids=tau"),
    "publish": ("makes a model of a training", "results/mine --repo=owner/name"),
}
"""Commands that are scripts in recipes/, which parse their own options: summary and example."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message):
        sys.stderr.write(f"{self.prog}: error: {message}; see {self.prog} --help\n")
        sys.exit(2)


def make_parser():
    """Returns the parser of `speechbrain-fv`.

    What it parses has, beside the options, `module` and `run`: where the command's function is.
    """
    parser = _Parser(
        "speechbrain-fv", description=DESCRIPTION, epilog=EXIT_CODES, allow_abbrev=False
    )
    version = f"speechbrain-fv {__version__}"
    parser.add_argument("--version", action="version", version=version, help="print it")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    _add_verify(commands)
    _add_match(commands)
    _add_embed(commands)
    _add_search(commands)
    _add_serve(commands)
    _add_yaml(commands)
    for name, (summary, example) in RECIPES.items():
        epilog = f"example: speechbrain-fv {name} {example}"
        commands.add_parser(name, help=summary, epilog=epilog, add_help=False)
    return parser


def _add_verify(commands):
    add = _command(
        commands,
        "verify",
        "matching",
        "whether a face and a voice belong to one person, with the error rates of the answer",
        "speechbrain-fv verify --model=owner/name face.jpg voice.wav",
    )
    _add_model(add)
    add("face", metavar="FACE", help="image, or folder of images of one person")
    add("voice", metavar="VOICE", help="recording, or folder of recordings of one person")
    _add_people(add, "further images and recordings of the two")
    _add_detect(add)
    _add_skip(add)


def _add_match(commands):
    add = _command(
        commands,
        "match",
        "matching",
        "ranks faces for a voice, or voices for a face",
        "speechbrain-fv match --model=owner/name voice.wav ann.jpg bob.jpg cem.jpg",
    )
    _add_model(add)
    add(
        "probe",
        metavar="PROBE",
        help="recording or image; which, its content tells; or a folder of one person's",
    )
    add(
        "candidates",
        metavar="CANDIDATE",
        nargs="+",
        help="images, or recordings, or folders of them, each of one person",
    )
    _add_people(add, "further files of the probe")
    _add_detect(add)
    _add_skip(add)


def _add_embed(commands):
    add = _command(
        commands,
        "embed",
        "embedding",
        "writes embeddings of files, for search, for evaluation, for training, or for your own "
        "programs",
        "speechbrain-fv embed --model=owner/name people/ --output=people.npz",
        "OUTPUT holds the arrays face and voice (N, K), their face_id and voice_id, face_weight "
        "and voice_weight, how much each can tell beside others of the person, and model_version. "
        "Of a CSV with the column identity, it also holds face_identity and voice_identity, which "
        "recipes/evaluate.py needs. In place of a published model, networks with their weights can "
        "be named, as in training, and corpora/embeddings.yaml trains on their vectors.",
    )
    _add_model(add, required=False)
    add(
        "--face_encoder",
        metavar="INCLUDE",
        help="in place of --model, as --face of train: face/timm.yaml {checkpoint: ...}",
    )
    add(
        "--voice_encoder",
        metavar="INCLUDE",
        help="in place of --model, as --voice of train: voice/ecapa.yaml {pretrained: ...}",
    )
    for modality in ("face", "voice"):
        add(
            f"--{modality}_settings",
            metavar="KEY=VALUE",
            nargs="+",
            default=[],
            help=f"settings of embed_{modality}.yaml beside the encoder",
        )
    add(
        "sources",
        metavar="FILE_OR_FOLDER",
        nargs="+",
        help="images, recordings, folders of them, or a CSV with the columns id (or clip), and "
        "face or wav or both; without the first, paths are the ids, and of files in a folder their "
        "paths below it",
    )
    add("--output", metavar="E.npz", required=True, help="is replaced when it exists")
    _add_detect(add)
    _add_skip(add)


def _add_search(commands):
    search = commands.add_parser(
        "search",
        help="galleries of many faces and voices: build, add, remove, query, info",
        description="Keeps many faces and voices, and finds the best of them for a query.",
        epilog="example: speechbrain-fv search build people.gallery people/ --model=owner/name; "
        "then speechbrain-fv search query people.gallery voice.wav --model=owner/name",
        allow_abbrev=False,
    ).add_subparsers(metavar="ACTION", required=True)
    source = "folder of images and recordings, a CSV (id, face, wav), or an .npz of embed"
    add = _action(search, "build", "makes a gallery", "people.gallery people/ --model=owner/name")
    add("source", metavar="SOURCE", help=source)
    add("--replace", action="store_true", help="a gallery that is there")
    _add_by_person(add)
    add(
        "--kind",
        default="auto",
        choices=("auto", "exact", "coded"),
        help="of index; auto decides by size, coded needs the extra search",
    )
    _add_model(add)
    _add_detect(add)
    _add_skip(add)
    add = _action(search, "add", "adds to a gallery", "people.gallery more/ --model=owner/name")
    add("source", metavar="SOURCE", help=source)
    _add_by_person(add)
    _add_model(add)
    _add_detect(add)
    _add_skip(add)
    add = _action(search, "remove", "removes from a gallery", "people.gallery ann/1.jpg")
    add("ids", metavar="ID", nargs="+", help="the faces and voices with this id")
    add = _action(
        search, "query", "finds the best", "people.gallery voice.wav -k=5 --model=owner/name"
    )
    add(
        "probe",
        metavar="FILE",
        help="a recording finds faces, an image voices; or a folder of one person's",
    )
    _add_people(add, "further files of the probe")
    add("-k", type=_count, default=10, help="how many (default: 10)")
    _add_model(add)
    _add_detect(add)
    _add_skip(add)
    add = _action(search, "info", "what a gallery holds", "people.gallery")
    add("--check", action="store_true", help="also read each file and compare it with its hash")


def _add_serve(commands):
    add = _command(
        commands,
        "serve",
        "serving",
        "opens a page in which faces and voices are uploaded, recorded and ranked",
        "speechbrain-fv serve --model=owner/name, then open http://127.0.0.1:7860",
        "Needs the extra demo. There is no password: behind another --host than the default, "
        "whoever reaches the port can use the page.",
        json=False,
    )
    _add_model(add)
    add("--host", default="127.0.0.1", help="address to listen at (default: this computer only)")
    add("--port", type=int, default=7860, help="default: 7860")
    add("--max_megabytes", type=float, default=20, help="of one file (default: 20)")
    add("--max_files", type=_count, default=20, help="candidates at once (default: 20)")
    add("--max_seconds", type=float, default=120, help="of one recording (default: 120)")
    add("--max_megapixels", type=float, default=50, help="of one image (default: 50)")
    add("--keep_minutes", type=float, default=15, help="before uploads are deleted (default: 15)")


def _add_yaml(commands):
    add = _command(
        commands,
        "yaml",
        "scripts",
        "copies the YAMLs of all methods to a folder, to be read and edited",
        "speechbrain-fv yaml my_hparams, then speechbrain-fv train my_hparams/bipcm_fst.yaml",
        "None has to be copied to be used: train takes the names of those that the package has.",
    )
    add("folder", metavar="FOLDER", help="new or empty")


def _command(commands, name, module, summary, example, note="", json=True):
    """Adds a command; returns the function that adds its options."""
    parser = commands.add_parser(
        name,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}. {note}".strip(),
        epilog=f"example: {example}",
        allow_abbrev=False,
    )
    parser.set_defaults(module=module, run=name, name=parser.prog, json=False)
    add = parser.add_argument
    add("--quiet", action="store_true", help="no notes on what was converted or left out")
    if json:
        add("--json", action="store_true", help="print JSON; notes and errors go to stderr")
    return add


def _action(search, name, summary, example):
    """Adds an action of `search`; returns the function that adds its options."""
    example = f"speechbrain-fv search {name} {example}"
    add = _command(search, name, "searching", summary, example)
    add("gallery", metavar="GALLERY", help="folder of the gallery")
    return add


def _add_model(add, required=True):
    add("--model", required=required, help="folder of a bundle, or its name on the hub, owner/name")
    add("--revision", help="commit, tag or branch on the hub; a commit pins the model")
    add("--device", default="cpu", help="cpu (default), cuda, cuda:1 and so on")
    add(
        "--trust_remote_code",
        action="store_true",
        help="let the model's YAML run whatever it names",
    )


def _add_detect(add):
    add(
        "--detect_faces",
        action=argparse.BooleanOptionalAction,
        help="find the face and crop to it (extra detect), or not; by default as in training",
    )


def _add_people(add, whose):
    add(
        "--also",
        metavar="FILE",
        nargs="+",
        default=[],
        help=f"{whose}, averaged with the first",
    )
    _add_weighted(add)


def _add_weighted(add):
    add(
        "--weighted",
        action="store_true",
        help="weigh a person's photos by the detector's certainty, recordings by their seconds",
    )


def _add_by_person(add):
    add(
        "--people",
        action="store_true",
        help="one entry per person, the average of the clips: of a folder, the folders in it are "
        "the people; of a CSV, its column identity tells",
    )
    _add_weighted(add)


def _add_skip(add):
    add("--skip_broken", action="store_true", help="leave out files that cannot be used")


def _count(text):
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"expected a whole number above 0, got {text!r}")
    return int(text)
