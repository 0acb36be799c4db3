"""Audio files whose headers count too little -> streams that libsndfile decodes to their end.

libsndfile decodes no more than a header announces. It takes the length of an MP3 from a header of
its encoder, which knows nothing of what was joined to it later, or guesses it from the first
frame; and it reads the first of several joined Ogg files only.
"""

import io
import mmap
import os
import struct

MAX_BYTES = 2**30  # compressed, an hour takes a seventh; what is mended is in memory
MP3_TOLERANCE = 4 * 1152  # samples: more than an encoder's delay and padding
_OGG_PAGE = 27  # bytes, before the table of its segments
_OGG_FIRST = 2  # flag of the page that begins a stream
_NUM_CHECKED = 3  # MP3 frames in a row: chance does not make so many

# kbit/s by index 1 to 14; of MPEG 1 by layer, and of MPEG 2 and 2.5 by layer
_KBITS = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_KBITS[2, 3] = _KBITS[2, 2]
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_INFO_PLACES = {(True, False): 36, (True, True): 21, (False, False): 21, (False, True): 13}
"""Where the encoder's header lies in the first frame: by MPEG 1 or 2, and by stereo or mono."""


def mended(path, file_format, frames):
    """Returns what libsndfile must be given to decode all of a file, one after the other.

    Arguments
    ---------
    path : path
        The file.
    file_format : str
        As libsndfile names it: "WAV", "MP3", "OGG", ...
    frames : int
        How many samples of each channel libsndfile would decode.

    Returns
    -------
    streams : list of binary files
        Empty where the file itself is decoded to its end.

    Raises
    ------
    ValueError
        If the file is compressed, or to be mended, and larger than `MAX_BYTES`.
    """
    mend = {"OGG": _ogg_links, "MP3": _mp3_with_count, "WAV": _wav_to_the_end}.get(file_format)
    if mend is None or (file_format == "WAV" and frames):
        return []
    size = os.path.getsize(path)
    if size > MAX_BYTES:
        raise ValueError(
            f"{path}: {size} bytes, expected at most {MAX_BYTES} of {file_format}; cut it shorter"
        )
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return [io.BytesIO(part) for part in mend(data, frames)]


def _ogg_links(data, frames):
    """The files that were joined: a stream begins where another has had pages already."""
    begins, position, has_pages = [0], 0, False
    while (position := data.find(b"OggS", position)) >= 0 and position + _OGG_PAGE < len(data):
        is_first = bool(data[position + 5] & _OGG_FIRST)
        if is_first and has_pages:
            begins.append(position)
        has_pages = not is_first
        num_segments = data[position + 26]
        sizes = data[position + _OGG_PAGE : position + _OGG_PAGE + num_segments]
        position += _OGG_PAGE + num_segments + sum(sizes)
    if len(begins) == 1:
        return []
    return [data[start:stop] for start, stop in zip(begins, [*begins[1:], len(data)], strict=True)]


def _wav_to_the_end(data, frames):
    """A WAV whose data chunk says 0 bytes, as some recorders leave it, with the right number."""
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        if name == b"data":
            rest = len(data) - position
            if size or not rest or _is_chunk(data, position):
                return []
            counts = struct.pack("<I", len(data) - 8), struct.pack("<I", rest)
            return [data[:4] + counts[0] + data[8 : position - 4] + counts[1] + data[position:]]
        position += size + size % 2
    return []


def _is_chunk(data, position):
    """Whether another chunk begins at a position, and ends in the file."""
    if position + 8 > len(data):
        return False
    name, size = struct.unpack_from("<4sI", data, position)
    return name.isascii() and name.decode().isprintable() and position + 8 + size <= len(data)


def _mp3_with_count(data, frames):
    """An MP3 behind a header that counts its frames, where it has no such header or a wrong one."""
    first, num_frames = None, 0
    for position, size, samples in _mp3_frames(data):
        if first is None:
            first = position, size, samples
        num_frames += 1
    if first is None:
        return []
    position, size, samples = first
    place = _INFO_PLACES[data[position + 1] & 8 != 0, data[position + 3] >> 6 == 3]
    counted = data[position + place : position + place + 4] in (b"Xing", b"Info")
    counted = counted or data[position + 36 : position + 40] == b"VBRI"
    num_frames -= counted
    surplus = num_frames * samples - frames
    if -MP3_TOLERANCE <= surplus <= MP3_TOLERANCE or (counted and surplus < 0):
        return []
    # Of the highest bit rate, so that the count has room; without checksum and padding.
    second, third, fourth = data[position + 1 : position + 4]
    header = bytes([0xFF, second | 1, third & 0x0C | 0xE0, fourth])
    count = b"Info" + struct.pack(">II", 1, num_frames)
    info = (header + bytes(place - 4) + count).ljust(_mp3_header(header)[0], b"\0")
    return [info + data[position + (size if counted else 0) :]]


def _mp3_frames(data):
    """Yields position, size in bytes and samples of each frame; passes over what is none."""
    position = 0
    while position + 4 <= len(data):
        if data[position : position + 3] == b"ID3" and position + 10 <= len(data):
            sizes = data[position + 6 : position + 10]  # seven bits each
            position += 10 + sum(byte << 7 * (3 - place) for place, byte in enumerate(sizes))
            continue
        found = _mp3_header(data[position : position + 4])
        if found is None:
            position = _next_mp3_frame(data, position + 1)
            continue
        yield position, *found
        position += found[0]


def _next_mp3_frame(data, position):
    """Where the next row of frames begins; the end of the file where none does."""
    while (position := data.find(b"\xff", position)) >= 0:
        ahead, num_found = position, 0
        while num_found < _NUM_CHECKED and (found := _mp3_header(data[ahead : ahead + 4])):
            ahead += found[0]
            num_found += 1
        if num_found == _NUM_CHECKED or (num_found and ahead == len(data)):
            return position
        position += 1
    return len(data)


def _mp3_header(header):
    """Size in bytes and samples of the frame that four bytes begin, or None where they do not."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, 4 - (header[1] >> 1 & 3)
    bits, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer == 4 or bits in (0, 15) or rate == 3:
        return None
    is_first = version == 3  # MPEG 1
    bit_rate = 1000 * _KBITS[1 if is_first else 2, layer][bits - 1]
    rate = _RATES[version][rate]
    if layer == 1:
        return 4 * (12 * bit_rate // rate + padding), 384
    samples = 1152 if is_first or layer == 2 else 576
    return samples // 8 * bit_rate // rate + padding, samples
