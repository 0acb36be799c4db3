"""A bundle's files in a folder of the caller's, as SpeechBrain's loaders collect them there."""

import filecmp
import logging
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

from speechbrain.utils.fetching import FetchFrom, FetchSource, LocalStrategy, link_with_strategy

from speechbrain_fv.bundles.config import read_config
from speechbrain_fv.bundles.layout import CONFIG_FILE, HPARAMS_FILE, WEIGHTS_FILE

logger = logging.getLogger(__name__)


def collect(source, savedir, strategy, config, revision=None, token=None, more=()):
    """Returns the folder from which a bundle is loaded; fills `savedir` if there is one.

    What `savedir` holds of the same model on the hub is used as it is, without the network, as
    SpeechBrain does, unless a revision or an update is asked for. Files of another model there
    are an error: SpeechBrain would load them.

    Arguments
    ---------
    source : str or Path or FetchSource
        A bundle's folder, or "owner/name" on the hub.
    savedir : path or None
        Gets YAML, weights, configuration and `more`; all of the hub's cache remains there.
    strategy : LocalStrategy
        Whether `savedir` gets links or copies, or nothing (NO_LINK).
    config : FetchConfig
        Its overwrite and allow_updates let files in `savedir` be replaced.
    revision, token, more
        As for `hub.fetch`.

    Returns
    -------
    folder : Path

    Raises
    ------
    ValueError
        As `hub.fetch`; or if `savedir` holds other files than those of the source.
    OSError
        As `hub.fetch`.
    """
    from speechbrain_fv.bundles import hub  # imports the hub's client

    source, is_remote = _located(source)
    names = list(dict.fromkeys((HPARAMS_FILE, WEIGHTS_FILE, CONFIG_FILE, *more)))
    for name in more:
        if name in ("", ".", "..") or Path(name).name != str(name):
            raise ValueError(f"{name!r}: expected the name of a file that lies in the bundle")
    more = [name for name in more if name not in hub.FETCHED]
    replace = config.overwrite or config.allow_updates
    if savedir is not None:
        savedir = Path(savedir)
        if is_remote and revision is None and not replace and _holds(savedir, names, source):
            logger.info("%s: using the files in %s", source, savedir)
            return savedir
        savedir.mkdir(parents=True, exist_ok=True)
    links = savedir is not None and strategy is not LocalStrategy.NO_LINK
    passing = links and is_remote and strategy is LocalStrategy.COPY_SKIP_CACHE
    with TemporaryDirectory(dir=savedir) if passing else nullcontext() as cache:
        cache = cache or config.huggingface_cache_dir
        fetch = hub.fetch_commit if is_remote else hub.fetch
        folder = fetch(source, cache, revision, token, more, config.allow_network)
        if not links:
            return folder
        for name in names:
            _put(folder / name, savedir / name, strategy, replace)
    return savedir


def _located(source):
    """Returns a source as text, and whether it is on the hub."""
    if not isinstance(source, FetchSource):
        return str(source), not Path(source).is_dir()
    kind, place = source
    if kind is FetchFrom.URI:
        raise ValueError(f"{place}: expected a folder, or owner/name on the hub, got an address")
    if kind is FetchFrom.LOCAL and not Path(place).is_dir():
        raise ValueError(f"{place}: no such folder")
    return str(place), kind is FetchFrom.HUGGING_FACE


def _holds(savedir, names, name):
    """Whether a folder has all files of a model, and its configuration is of that name."""
    if not all((savedir / file).is_file() for file in names):
        return False
    try:
        return read_config(savedir / CONFIG_FILE)["name"] == name
    except ValueError:
        return False


def _put(path, target, strategy, replace):
    """Links or copies a file, unless it is there."""
    if target.exists():
        if path.samefile(target) or filecmp.cmp(path, target, shallow=False):
            return
        if not replace:
            raise ValueError(
                f"{target}: is of another model or version than {path.parent}; choose another "
                "savedir, or allow it with fetch_config=FetchConfig(overwrite=True)"
            )
    link_with_strategy(path, target, strategy)
