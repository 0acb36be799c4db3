"""Bundles to and from the Hugging Face hub: always the same files, always of one commit.

The client reads HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_OFFLINE when it is first imported.
"""

import logging
import re
from pathlib import Path
from typing import NamedTuple

from huggingface_hub import (
    CommitOperationAdd,
    HfApi,
    constants,
    hf_hub_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionResolutionError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import validate_repo_id

from speechbrain_fv.bundles.hub_errors import not_cached, readable_errors
from speechbrain_fv.bundles.layout import (
    CARD_FILE,
    CODE_FILE,
    MAX_BYTES,
    MAX_TEXT_BYTES,
    REPORT_FILE,
)

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 10
"""How long the hub may take for its first answer."""

FETCHED = tuple(name for name in MAX_BYTES if name != CODE_FILE)
"""What is downloaded: all but the code, which this package does not read and old bundles lack."""

_COMMIT = re.compile("[0-9a-f]{40}")
_REVISION = re.compile(r"\w[\w.+-]*(/\w[\w.+-]*)*", re.ASCII)
_TOKEN = re.compile("[!-~]+")


class Commit(NamedTuple):
    """A commit on the hub: the address of its page, and its name of 40 hexadecimal digits."""

    url: str
    oid: str


def push(
    folder,
    repo,
    token=None,
    private=False,
    branch="main",
    message="Publish a face-voice association model",
):
    """Uploads a bundle in one commit, all of its files or none, and returns the `Commit`.

    Other files in the folder are left out. Files of the repository that are no part of a bundle
    stay as they are. An interrupted upload changes no file on the hub, but may leave a new
    repository or branch; the next run does not send again what the hub has.

    Arguments
    ---------
    folder : path
        The bundle.
    repo : str
        "owner/name"; made when absent.
    token : str, optional
        That may write; by default the client's own, from HF_TOKEN or `hf auth login`.
    private : bool
        Whether only the owner sees the repository; one that is public is then refused.
    branch : str
        Made from main when absent.
    message : str
        Of the commit.

    Returns
    -------
    Commit

    Raises
    ------
    ValueError
        If a file is missing or too large, a name is malformed, the hub refuses the token, or the
        repository is public and should be private.
    OSError
        If the hub cannot be reached, or the upload is interrupted.
    """
    folder = check_files(folder, MAX_BYTES)
    _check_names(repo, branch, token)
    api = HfApi(token=token)
    head = _branch_head(api, repo, private, branch)
    with readable_errors(repo):
        # Not upload_folder, which commits a folder in several steps where it can.
        additions = [CommitOperationAdd(name, str(folder / name)) for name in MAX_BYTES]
        commit = api.create_commit(
            repo, additions, commit_message=message, revision=branch, parent_commit=head
        )
    return Commit(commit.commit_url, commit.oid)


def fetch(source, cache_folder=None, revision=None, token=None, more=(), network=True):
    """Returns the local folder of a bundle; one on the hub is downloaded first.

    All files are of one commit, also if somebody pushes meanwhile. What is in the cache is not
    downloaded again; without a network, or with HF_HUB_OFFLINE=1, the cached commit is used. A
    full commit name that is cached needs no network at all.

    Arguments
    ---------
    source : path or str
        A folder, which is returned as it is, and may lack card and report; or "owner/name" on
        the hub.
    cache_folder : path, optional
        Takes the place of the client's cache; it may hold any number of models and versions.
    revision : str, optional
        A branch, a tag, or a commit's 40 digits; by default the newest commit of main.
    token : str, optional
        By default the client's own, from HF_TOKEN or `hf auth login`.
    more : sequence of str
        Names of further files of the bundle that are needed, small ones.
    network : bool
        Whether the hub may be asked.

    Returns
    -------
    folder : Path
        With the files of a bundle. Do not change it.

    Raises
    ------
    ValueError
        If there is no such folder, repository or revision, the token does not open it, or a file
        is missing or too large.
    OSError
        If the hub cannot be reached and the files are not in the cache, or the download is
        interrupted; nothing is then taken for a whole file.
    """
    if Path(source).is_dir():
        if revision is not None:
            raise ValueError(f"{source}: a local folder has no revisions, got {revision!r}")
        return check_files(source, [*FETCHED, *more], optional=(CARD_FILE, REPORT_FILE))
    return fetch_commit(str(source), cache_folder, revision, token, more, network)


def fetch_commit(repo, cache_folder=None, revision=None, token=None, more=(), network=True):
    """Returns the folder in the cache of a bundle on the hub, also where a local one has its name.

    Arguments, result and errors are those of `fetch`.
    """
    api, names = HfApi(token=token), [*FETCHED, *more]
    _check_names(repo, revision, token)
    unreachable = None if network else OfflineModeIsEnabled("the hub was not to be asked")
    if network and not (_is_commit(revision) and not _missing(repo, revision, cache_folder, names)):
        unreachable = _unreachable(api, repo, revision)
    commit = _resolve(api, repo, revision, cache_folder, unreachable)
    missing = _missing(repo, commit, cache_folder, names)
    if missing and unreachable:
        raise not_cached(repo, revision, cache_folder or constants.HF_HUB_CACHE, unreachable)
    if missing:
        _check_remote(api, repo, commit, names)
    with readable_errors(repo):
        paths = [
            hf_hub_download(
                *(repo, name),
                revision=commit,
                cache_dir=cache_folder,
                token=token,
                local_files_only=not network,
            )
            for name in names
        ]
    return check_files(Path(paths[0]).parent, names)


def check_files(folder, names, optional=()):
    """Returns a bundle's folder as a Path; ValueError if a file is missing or too large."""
    folder = Path(folder)
    paths = [folder / name for name in names]
    sizes = {path.name: path.stat().st_size for path in paths if path.is_file()}
    _check_sizes(folder, sizes, names, optional)
    return folder


def _check_sizes(place, sizes, names, optional=()):
    missing = [name for name in names if name not in (*sizes, *optional)]
    if missing:
        raise ValueError(
            f"{place}: no {', '.join(missing)}; expected a bundle as recipes/publish.py makes it, "
            f"with {', '.join(names)}"
        )
    for name, size in sizes.items():
        most = MAX_BYTES.get(name, MAX_TEXT_BYTES)
        if size > most:
            raise ValueError(
                f"{place}: {name} has {size:,} bytes, expected at most {most:,}; this is no bundle"
            )


def check_repo(repo):
    """Raises ValueError if a name is not of the form owner/name."""
    try:
        validate_repo_id(repo)
        valid = repo.count("/") == 1
    except ValueError:
        valid = False
    if not valid:
        raise ValueError(
            f"{repo!r}: no such folder; expected one, or owner/name of a model on the hub, in "
            "letters, digits, '-', '_' and '.'"
        )


def _check_names(repo, revision, token):
    """Raises ValueError for a name that is malformed; a token is never shown."""
    check_repo(repo)
    if revision is not None and not _REVISION.fullmatch(revision):
        raise ValueError(f"revision {revision!r}: expected the name of a branch, tag or commit")
    if token is not None and not _TOKEN.fullmatch(token):
        raise ValueError("token: expected a word of letters, digits and the like; copy it again")


def _is_commit(revision):
    return revision is not None and bool(_COMMIT.fullmatch(revision))


def _branch_head(api, repo, private, branch):
    """Returns the commit to build on; makes the repository and the branch when absent."""
    with readable_errors(repo):
        try:
            info = api.model_info(repo, timeout=PATIENCE_SECONDS)
        except RepositoryNotFoundError:
            # Without `private` the owner's default holds; a person's is public.
            api.create_repo(repo, private=private or None)
            info = api.model_info(repo, timeout=PATIENCE_SECONDS)
    if private and not info.private:
        raise ValueError(
            f"{repo}: the repository is public, expected a private one; change that in its "
            "settings on the hub, or choose another name"
        )
    if branch == constants.DEFAULT_REVISION:
        return info.sha
    with readable_errors(repo):
        api.create_branch(repo, branch=branch, exist_ok=True)
        return api.model_info(repo, revision=branch, timeout=PATIENCE_SECONDS).sha


def _unreachable(api, repo, revision):
    """Returns None once the hub has answered, or the error that tells why it did not."""
    with readable_errors(repo):
        try:
            api.model_info(repo, revision=revision, timeout=PATIENCE_SECONDS)
        except (HTTPError, OfflineModeIsEnabled) as error:
            if isinstance(error, HfHubHTTPError) and error.response.status_code < 500:
                raise
            return error
    return None


def _resolve(api, repo, revision, cache_folder, unreachable):
    """Returns the commit of a revision, from the cache if the hub does not answer."""
    try:
        with readable_errors(repo):
            commit = api.resolve_revision(
                repo,
                revision=revision,
                cache_dir=cache_folder,
                local_files_only=unreachable is not None,
            ).resolved
    except RevisionResolutionError as error:
        cache = cache_folder or constants.HF_HUB_CACHE
        raise not_cached(repo, revision, cache, unreachable or error) from error
    if not _is_commit(commit):  # it becomes the name of a folder
        raise ValueError(f"{repo}: the hub answers {commit[:50]!r} instead of a commit")
    if unreachable is not None and not isinstance(unreachable, OfflineModeIsEnabled):
        logger.warning("%s: the hub cannot be reached, using the cached %s", repo, commit)
    return commit


def _missing(repo, commit, cache_folder, names):
    """Returns those of the named files that are not in the cache."""
    return [
        name
        for name in names
        if not isinstance(
            try_to_load_from_cache(repo, name, cache_dir=cache_folder, revision=commit), str
        )
    ]


def _check_remote(api, repo, commit, names):
    """Raises ValueError if a file is missing on the hub or too large to be downloaded."""
    with readable_errors(repo):
        entries = api.get_paths_info(repo, list(names), revision=commit)
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    _check_sizes(f"{repo} at {commit[:8]}", sizes, names)
