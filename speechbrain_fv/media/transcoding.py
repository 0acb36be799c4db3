"""Audio that libsndfile does not read, such as VoxCeleb2's .m4a, made FLAC by ffmpeg, once."""

import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor

from speechbrain_fv.files import replacing_path
from speechbrain_fv.media.files import first_line
from speechbrain_fv.shipped import install_command

SECONDS = 600  # that one file may take


def find_ffmpeg():
    """Returns the path of ffmpeg, from the PATH or the package imageio-ffmpeg, or None."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg
    except ImportError:
        return None
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError:  # there is no binary for this machine
        return None


def require_ffmpeg(option):
    """Returns the path of ffmpeg; ValueError with the remedy where there is none."""
    found = find_ffmpeg()
    if found is None:
        raise ValueError(
            f"{option}: its voices are .m4a, which ffmpeg must decode, and there is none; install "
            f"ffmpeg, or {install_command('m4a')}, or convert the files to FLAC or WAV"
        )
    return found


def transcode(paths, targets, num_workers=2, sample_rate=16000, bar=iter):
    """Makes mono FLAC files of audio files; those that are there already are left as they are.

    A file is whole or not there, and newer than its source; so an interrupted call goes on.

    Arguments
    ---------
    paths, targets : sequence of str
    num_workers : int
        Processes of ffmpeg at once, at least 1.
    sample_rate : int
        In Hz.
    bar : function of an iterable of results
        Shows progress.

    Returns
    -------
    dict of str to str
        Path -> why it could not be decoded, of those that could not.

    Raises
    ------
    ValueError
        If there is no ffmpeg.
    """
    pairs = [pair for pair in zip(paths, targets, strict=True) if _is_due(*pair)]
    if not pairs:
        return {}
    ffmpeg = require_ffmpeg(os.path.dirname(pairs[0][0]))
    with ThreadPoolExecutor(max(1, num_workers)) as pool:
        faults = bar(pool.map(lambda pair: _transcode(ffmpeg, *pair, sample_rate), pairs))
        return {path: fault for (path, _), fault in zip(pairs, faults, strict=True) if fault}


def _is_due(path, target):
    try:
        return os.stat(target).st_mtime_ns < os.stat(path).st_mtime_ns
    except OSError:
        return True


def _transcode(ffmpeg, path, target, sample_rate):
    """Makes one file; returns why that failed, or ""."""
    command = [ffmpeg, "-nostdin", "-v", "error", "-y", "-i", path, "-vn", "-ac", "1"]
    command += ["-ar", str(sample_rate), "-f", "flac"]
    try:
        with replacing_path(target) as partial:
            done = subprocess.run(
                [*command, str(partial)], capture_output=True, text=True, timeout=SECONDS
            )
            if done.returncode or not partial.stat().st_size:
                raise ValueError(done.stderr.strip() or "no audio")
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        return f"ffmpeg: {first_line(error)}"
    return ""
