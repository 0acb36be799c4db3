"""The YAMLs and scripts that come with the package: in a wheel inside it, in a clone beside it."""

from pathlib import Path

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = "https://github.com/speechbrain-fv/speechbrain-fv"


def shipped(folder):
    """Returns the path of a folder of the repository, "hparams" or "recipes", where it now is."""
    inside = PACKAGE / folder
    return inside if inside.is_dir() else PACKAGE.parent / folder


def shipped_yaml(name):
    """Returns the path of a shipped YAML, or None where there is none of the name.

    Arguments
    ---------
    name : path
        Below the folder of shipped YAMLs, or with its name "hparams/" in front.

    Example
    -------
    >>> Path(shipped_yaml("bipcm_fst.yaml")).relative_to(shipped("hparams"))
    PosixPath('bipcm_fst.yaml')
    >>> shipped_yaml("hparams/bipcm_fst.yaml") == shipped_yaml("bipcm_fst.yaml")
    True
    """
    folder = shipped("hparams")
    candidates = [folder / name, folder.parent / name]
    return next((str(path) for path in candidates if path.is_file()), None)


def install_command(extra):
    """Returns the command that installs an extra of the package, in a clone and elsewhere.

    Example
    -------
    >>> install_command("search")  # doctest: +ELLIPSIS
    "pip install ...[search]..."
    """
    if (PACKAGE.parent / "setup.py").is_file():
        return f"pip install -e '{PACKAGE.parent}[{extra}]'"
    return f"pip install 'speechbrain-fv[{extra}] @ git+{REPOSITORY}'"
