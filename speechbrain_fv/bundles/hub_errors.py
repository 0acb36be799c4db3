"""Errors of the hub and its client, in one line and with the remedy."""

import json
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)

from speechbrain_fv.messages import in_one_line

_LOG_IN = "log in with `hf auth login`, or set HF_TOKEN"
_CHANGED = "somebody else changed the repository meanwhile; look at it, and run this again"
_PROBLEMS = {
    400: "the hub finds a mistake in what was sent",
    401: f"the hub does not accept the token; {_LOG_IN}",
    403: "the token does not permit this; make one that may write to this repository",
    409: _CHANGED,
    412: _CHANGED,
    413: "the hub finds the files too large",
    429: "the hub asks to wait; run this again later",
}
_MISTAKES = (400, 401, 403, 413)


@contextmanager
def readable_errors(repo):
    """Turns errors of the client within it into a ValueError or an OSError of one line.

    Arguments
    ---------
    repo : str
        The repository, "owner/name".

    Raises
    ------
    ValueError
        If the caller can mend it: no such repository or revision, a token that is refused.
    OSError
        If the connection, the hub or the disk fails, or there is no network.
    """
    try:
        yield
    except (HTTPError, OSError, RuntimeError, XetDownloadError) as error:
        # The client wraps an error of a large file's upload in a RuntimeError.
        wrapped = isinstance(error, RuntimeError) and error.__cause__
        raise _readable(repo, wrapped or error) from error
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{repo}: {constants.ENDPOINT} does not answer as a hub does; check HF_ENDPOINT"
        ) from error
    except ValueError as error:
        raise ValueError(f"{repo}: {in_one_line(error)}") from error


def not_cached(repo, revision, cache, error):
    """Returns the OSError for a model that is not cached and cannot be downloaded.

    Arguments
    ---------
    repo : str
    revision : str or None
    cache : path
    error : Exception
        Why the hub did not answer.
    """
    if isinstance(error, OfflineModeIsEnabled):
        offline = constants.is_offline_mode()
        reason = "HF_HUB_OFFLINE is set" if offline else "allow_network is False"
        remedy = "unset it" if offline else "allow it"
    else:
        reason = f"the hub {constants.ENDPOINT} cannot be reached ({in_one_line(error)})"
        remedy = "check the network and HF_ENDPOINT"
    wanted = f"{repo} at {revision}" if revision else repo
    return OSError(f"{wanted}: {reason} and the model is not in {cache}; {remedy} to download it")


def _readable(repo, error):
    if isinstance(error, RepositoryNotFoundError):
        return ValueError(
            f"{repo}: neither a folder nor a model that {constants.ENDPOINT} shows with this "
            f"token; check the name, and for a private model {_LOG_IN}"
        )
    if isinstance(error, RevisionNotFoundError):
        return ValueError(f"{repo}: no such revision; name a branch, a tag or a full commit")
    if isinstance(error, HfHubHTTPError):
        return _refused(repo, error)
    if isinstance(error, OfflineModeIsEnabled):
        return OSError(f"{repo}: HF_HUB_OFFLINE is set; unset it to reach the hub")
    if _is_of_the_disk(error):
        return OSError(f"{repo}: {in_one_line(error)}")
    return OSError(
        f"{repo}: the connection to {constants.ENDPOINT} failed ({in_one_line(error)}); no "
        "revision was changed and no part is taken for a whole file. Run the same again"
    )


def _refused(repo, error):
    """Returns the error for an answer of the hub, less its address, which may hold a signature."""
    status = error.response.status_code
    problem = _PROBLEMS.get(status, "the hub fails; run this again later")
    said = error.server_message or error.response.headers.get("X-Error-Message", "")
    kind = ValueError if status in _MISTAKES else OSError
    return kind(f"{repo}: {problem} (answer {status}{said and f': {in_one_line(said)}'})")


def _is_of_the_disk(error):
    """Whether an error is the operating system's about a file, such as a full disk."""
    return (
        isinstance(error, OSError)
        and error.errno is not None
        and not isinstance(error, ConnectionError | LocalEntryNotFoundError)
    )
