"""Files that a training can no longer read: counted, named, and gone on without up to a number."""

import logging

from speechbrain_fv import distributed

logger = logging.getLogger(__name__)


class LostFiles:
    """The files that could not be read since the preparation, each named once in the log.

    Arguments
    ---------
    most : int
        How many a training goes on without, at least 0.

    Example
    -------
    >>> lost = LostFiles(most=1)
    >>> lost.note([("a.wav", "a.wav: gone"), ("a.wav", "a.wav: gone, and otherwise so")])
    >>> lost.texts, lost.meta()
    (['a.wav: gone'], {'lost_files': {'a.wav': 'a.wav: gone'}})
    """

    def __init__(self, most):
        self.most = most
        self.found = {}  # path -> its name and the reason

    @property
    def texts(self):
        """The files in alphabetical order, each with the reason, a list of str."""
        return sorted(self.found.values())

    def note(self, lost):
        """Names what is new among lost files.

        Arguments
        ---------
        lost : iterable of (str, str)
            Path of a file; its name and the reason.

        Raises
        ------
        ValueError
            If there are more than ``most``.
        """
        for path, text in lost:
            if path in self.found:
                continue
            self.found[path] = text
            count = len(self.found)
            if count > self.most:
                raise ValueError(
                    f"{text}; this is lost file {count}, of at most lost_files = {self.most}: "
                    "restore it, or raise --lost_files, and the same command goes on"
                )
            logger.warning("lost file %d, of at most %d (lost_files): %s", count, self.most, text)

    def share(self):
        """Lets every process know what the others could not read; all must call it."""
        for found in distributed.gather_objects(self.found):
            self.note(found.items())

    def meta(self):
        """Returns what a checkpoint keeps, a dict for its metadata."""
        return {"lost_files": self.found} if self.found else {}

    def recover(self, meta):
        """Takes the files from the metadata of a checkpoint."""
        self.found = dict(meta.get("lost_files", {}))
