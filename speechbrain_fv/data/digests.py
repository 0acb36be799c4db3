"""Digests of files, computed once while the files do not change."""

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from huggingface_hub.utils.sha import sha_fileobj

from speechbrain_fv.files import file_stamp

logger = logging.getLogger(__name__)


class FileDigests:
    """SHA-256 of files by path, kept in a file, so that unchanged files are read once.

    A file counts as unchanged while its size and time of modification are.

    Arguments
    ---------
    path : path
        Of the file that keeps them; a line that a killed process left torn is passed over.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.known = {}

    def of(self, files):
        """Returns the digests of files, as a dict of path to text.

        Raises
        ------
        ValueError
            If a file cannot be read.
        """
        self._load()
        files = dict.fromkeys(files)
        stamps = {file: file_stamp(file) for file in files}
        changed = [file for file in files if self.known.get(file, [None])[0] != stamps[file]]
        with ThreadPoolExecutor() as pool:
            of_changed = dict(zip(changed, pool.map(_digest, changed), strict=True))
        digests = {file: of_changed.get(file) or self.known[file][1] for file in files}
        self.known |= {file: (stamps[file], digest) for file, digest in of_changed.items()}
        new = [json.dumps([file, *self.known[file]]) for file in changed]
        if new:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with open(self.path, "ab") as output:
                    output.write(("\n" + "\n".join(new) + "\n").encode())
            except OSError as error:  # they only save time
                logger.warning("%s: digests cannot be kept (%s)", self.path, error.strerror)
        return digests

    def _load(self):
        if self.known or not self.path.is_file():
            return
        for line in self.path.read_bytes().splitlines():
            try:
                file, stamp, digest = json.loads(line)
            except (ValueError, TypeError):
                continue
            self.known[file] = stamp, digest


def _digest(file):
    try:
        with open(file, "rb") as content:
            return sha_fileobj(content).hex()
    except OSError as error:
        raise ValueError(
            f"{file}: cannot be read although the preparation could ({error.strerror}); restore "
            "the file, and the same command goes on; without it, train in another --output_folder"
        ) from error
