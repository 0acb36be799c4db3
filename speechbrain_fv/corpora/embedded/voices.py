"""Synthesises the voices of the embedded corpus: a source-filter model of babbled speech.

A synthesiser of our own rather than a packaged one: its vocal tract, pitch, tempo and breath are
continuous dials that the hidden traits can turn, it is deterministic, and no GPL program has to be
installed. It is the textbook model: glottal pulses and noise, shaped by formants and by the
spectra of fricatives and stops (Fant, Acoustic Theory of Speech Production, 1960), with the
time-varying filter applied in the short-time Fourier domain, so that no loop runs over samples.

Traits are put into the movement of the sound and not into its average: MFCC normalised per clip
lose level and mean spectrum.
"""

from dataclasses import dataclass

import numpy as np
from scipy import signal

SAMPLE_RATE = 16000  # Hz
_WINDOW, _HOP = 512, 128  # samples
_FRAME_SECONDS = _HOP / SAMPLE_RATE

# First three formants in Hz of a man's a, e, i, o, u (Peterson and Barney, 1952, rounded).
_VOWELS = np.array(
    [(730, 1090, 2440), (530, 1840, 2480), (270, 2290, 3010), (570, 840, 2410), (300, 870, 2240)]
)
_UPPER = np.array((3600, 4500, 5500, 6500))  # Hz, fourth to seventh formant: the same in all sounds
_BANDWIDTHS = np.array((70, 100, 150, 220, 300, 400, 500))  # Hz

# Where the formants of a vowel come from when lips, tongue tip or tongue back made the consonant.
_LOCI = np.array([(250, 800, 2200), (250, 1750, 2600), (250, 2100, 2300)])
_NASALS = np.array([(260, 1000, 2200), (260, 1450, 2400), (260, 1900, 2500)])  # m, n, ng
_GLIDES = np.array([(300, 700, 2200), (350, 1200, 2600), (280, 2150, 2900)])  # w, l, y
_FRICATIVES = np.array([(4500, 3000, 0.35), (5600, 1100, 1.0), (3300, 900, 1.2)])  # f, s, sh
_BURSTS = np.array([(900, 700, 0.7), (4200, 1300, 0.9), (2000, 700, 0.9)])  # p, t, k

# Accent: factors on F1 and F2 of the five vowels, and the odds of the consonant classes below.
_CLASSES = ("fricative", "stop", "nasal", "glide")
_ACCENTS = {
    "Alvia": ((1.0,) * 5, (1.0,) * 5, (0.15, 0.15, 0.15, 0.55)),
    "Borea": ((0.85, 1.15, 1.2, 0.85, 1.2), (1.15, 0.9, 0.9, 1.2, 1.3), (0.55, 0.15, 0.15, 0.15)),
    "Cirrhia": (
        (1.15, 0.85, 1.0, 1.15, 1.0),
        (0.85, 1.15, 1.0, 1.1, 0.9),
        (0.15, 0.55, 0.15, 0.15),
    ),
    "Dorland": ((0.8, 1.1, 1.1, 0.9, 1.2), (1.1, 0.9, 0.85, 0.9, 1.1), (0.15, 0.15, 0.55, 0.15)),
}


@dataclass(frozen=True)
class _Habits:
    """How one person speaks, whatever is said."""

    pitch: float  # Hz
    tract: float  # factor on all formants
    rate: float  # syllables per second
    breath: float  # noise in voiced sounds, relative to the pulses
    open_quotient: float  # of the glottis, the share of a period
    softness: float  # tilt of the glottal spectrum, coefficient of a one-pole lowpass
    nasality: float  # of all voiced sounds: 0 none, 1 all through the nose
    excursion: float  # accent in the pitch, semitones
    stress: float  # difference between stressed and unstressed syllables, dB
    hiss: float  # factor on the centres of fricatives and bursts, private
    upper: float  # factor on the fourth and higher formants, private
    final_rise: float  # semitones at the end of a phrase, private
    tremor: float  # depth of the slow shaking of loudness and pitch, from age
    jitter: float  # deviation of the pitch from frame to frame, semitones, from age


@dataclass
class _Score:
    """What is said, one row per frame of `_FRAME_SECONDS`: the targets of the synthesiser."""

    formants: np.ndarray  # [T, 3] Hz
    voicing: np.ndarray  # [T] amplitude
    noise: np.ndarray  # [T, 3] centre in Hz, width in Hz, amplitude
    accent: np.ndarray  # [T] about -1..1, the unit of the pitch excursion
    tremor: np.ndarray  # [T] semitones: slow shaking and jitter


def speak(identity, clip):
    """Returns one voice clip of a person.

    Arguments
    ---------
    identity : Identity
        The speaker.
    clip : int
        Number of the clip, >= 0; it alone fixes words, length, level, noise and room.

    Returns
    -------
    samples : np.ndarray
        float32 [N] at `SAMPLE_RATE`, in [-1, 1]; 2.2 to 3 s.

    Example
    -------
    >>> from speechbrain_fv.corpora.embedded.identities import draw_identities
    >>> samples = speak(draw_identities(1, seed=0)[0], clip=0)
    >>> bool(2.2 <= len(samples) / SAMPLE_RATE <= 3.0)
    True
    """
    habits, rng = _draw_habits(identity), identity.voice_clip_rng(clip)
    num_frames = round(rng.uniform(2.2, 2.99) / _FRAME_SECONDS)
    score = _compose(habits, identity.nationality, num_frames, rng)
    speech = _synthesise(habits, score, rng)
    return _record(speech, rng).astype(np.float32)


def _draw_habits(identity):
    rng, traits = identity.voice_habits_rng(), identity.traits
    male, age = identity.gender == "m", identity.seniority
    breath = traits["breath"]
    return _Habits(
        pitch=(112 if male else 200) * np.exp(0.26 * traits["pitch"]),
        tract=(1.0 if male else 1.13) * np.exp(-0.15 * traits["size"]),
        rate=(4.8 - 0.4 * age) * np.exp(0.5 * traits["tempo"]),
        breath=10 ** ((-9 + 13 * breath) / 20),
        open_quotient=0.62 + 0.12 * breath,
        softness=0.3 + 0.3 * breath,
        nasality=0.5 + 0.5 * traits["nasal"],
        excursion=3.0 * np.exp(0.9 * traits["melody"]),
        stress=7 + 6 * traits["melody"],
        hiss=(1.0 if male else 1.05) * rng.uniform(0.92, 1.08),
        upper=rng.uniform(0.94, 1.06),
        final_rise=rng.uniform(-4, 1),
        tremor=0.4 * age,
        jitter=0.12 + 0.5 * age,
    )


def _compose(habits, nationality, num_frames, rng):
    """Random phrases of two to six syllables, with pauses between them."""
    score = _Score(
        formants=np.tile(_VOWELS.mean(axis=0), (num_frames, 1)),
        voicing=np.zeros(num_frames),
        noise=np.tile((4000.0, 1000.0, 0.0), (num_frames, 1)),
        accent=np.zeros(num_frames),
        tremor=np.zeros(num_frames),
    )
    start = _frames(rng.uniform(0.02, 0.12))
    while start < num_frames:
        num_syllables = rng.integers(2, 7)
        stressed, begin = rng.integers(num_syllables), start
        for syllable in range(num_syllables):
            emphasis = 1.3 if syllable == stressed else 0.9
            lengthening = 1.3 if syllable == num_syllables - 1 else 1.0
            start = _add_syllable(score, start, emphasis, lengthening, habits, nationality, rng)
        phrase = slice(begin, start)
        # Pitch and breath run down over a phrase.
        decline = np.linspace(1, -1, start - begin)[: num_frames - begin]
        score.accent[phrase] += 1.5 * decline / habits.excursion
        score.voicing[phrase] *= 10 ** (0.1 * decline)
        ending = slice(max(0, start - _frames(0.12)), start)
        score.accent[ending] += habits.final_rise / habits.excursion
        start += _frames(rng.uniform(0.6, 1.2) / habits.rate)
    return _articulate(score, habits, rng)


def _add_syllable(score, start, emphasis, lengthening, habits, nationality, rng):
    """Writes consonant and vowel into the score; returns the frame where the syllable ends."""
    f1_factors, f2_factors, odds = _ACCENTS[nationality]
    length = emphasis * lengthening / habits.rate * rng.uniform(0.9, 1.1)
    loudness = 1.0 if emphasis > 1 else 10 ** (-habits.stress / 20)
    onset = slice(start, start + _frames(0.36 * length / lengthening))
    end = start + _frames(length)
    kind, place = rng.choice(_CLASSES, p=odds), rng.integers(3)
    score.formants[onset] = _LOCI[place]
    if kind == "fricative":
        score.noise[onset] = _FRICATIVES[place]
    elif kind == "stop":
        burst = slice(onset.stop - 3, onset.stop - 1)
        score.noise[burst] = _BURSTS[place]
        score.noise[burst, 2] *= loudness**0.5
    elif kind == "nasal":
        score.formants[onset], score.voicing[onset] = _NASALS[place], 0.35 * loudness
    else:
        score.formants[onset], score.voicing[onset] = _GLIDES[place], 0.6 * loudness
    vowel = rng.integers(5)
    factors = (f1_factors[vowel], f2_factors[vowel], 1.0)
    score.formants[onset.stop : end] = _VOWELS[vowel] * factors
    score.voicing[onset.stop : end] = loudness
    score.accent[start:end] = 1.0 if emphasis > 1 else rng.uniform(-0.7, 0.0)
    return end


def _articulate(score, habits, rng):
    """The score as this person's tract can follow it: targets become movements."""
    num_frames = len(score.voicing)
    score.voicing[-_frames(0.05) :] = score.noise[-_frames(0.05) :, 2] = 0
    shaking = np.sin(2 * np.pi * rng.uniform(5, 6) * _FRAME_SECONDS * np.arange(num_frames))
    tremor = habits.tremor * shaking
    centre, width, amplitude = score.noise.T
    return _Score(
        formants=_glide(score.formants, 0.05) * habits.tract,
        voicing=_glide(score.voicing, 0.03) * (1 + tremor),
        noise=np.stack([centre * habits.hiss, width, 0.3 * _glide(amplitude, 0.024)], axis=1),
        accent=_glide(score.accent, 0.12),
        tremor=tremor + habits.jitter * rng.standard_normal(num_frames),
    )


def _frames(seconds):
    return max(2, round(seconds / _FRAME_SECONDS))


def _glide(track, seconds):
    """Moving average over time with a Hann window: articulators move, they do not jump."""
    window = np.hanning(max(3, round(2 * seconds / _FRAME_SECONDS)) + 2)[1:-1]
    padded = np.pad(track, [(len(window), len(window))] + [(0, 0)] * (track.ndim - 1), mode="edge")
    window = (window / window.sum()).reshape(-1, *[1] * (track.ndim - 1))
    return signal.fftconvolve(padded, window, mode="same", axes=0)[len(window) : -len(window)]


def _synthesise(habits, score, rng):
    """Samples [N] of the score, at an arbitrary level."""
    num_samples = len(score.voicing) * _HOP
    pulses = _glottal_pulses(habits, score, num_samples)
    noise = rng.standard_normal(num_samples, dtype=np.float32)
    stft = dict(fs=SAMPLE_RATE, nperseg=_WINDOW, noverlap=_WINDOW - _HOP)
    frequencies, times, pulses = signal.stft(pulses, **stft)
    frequencies = frequencies.astype(np.float32)
    noise = signal.stft(noise, **stft)[2]
    score_times = np.arange(len(score.voicing)) * _FRAME_SECONDS

    def at_frames(track):
        return np.interp(times, score_times, track).astype(np.float32)

    formants = [at_frames(track) for track in score.formants.T]
    formants += [
        np.full(len(times), centre * habits.tract, np.float32) for centre in _UPPER * habits.upper
    ]
    voicing = at_frames(score.voicing)
    centre, width, frication = (at_frames(track) for track in score.noise.T)
    tract = _formant_gain(frequencies, np.stack(formants))
    offset = (frequencies[:, None] - centre) / width
    tract *= _nasal_gain(frequencies, habits)[:, None]
    spectrum = pulses + np.float32(0.25 * habits.breath) * noise
    spectrum = tract * voicing * spectrum + np.exp(-0.5 * offset**2) * frication * noise
    return signal.istft(spectrum, **stft)[1][:num_samples]


def _glottal_pulses(habits, score, num_samples):
    """Derivative of the glottal flow [N] of KLGLOTT88 (Klatt and Klatt, 1990): x^2 (1 - x)."""
    times = np.arange(len(score.voicing)) * _FRAME_SECONDS
    seconds = np.arange(num_samples) / SAMPLE_RATE
    semitones = habits.excursion * score.accent + score.tremor
    pitch = habits.pitch * 2 ** (np.interp(seconds, times, semitones) / 12)
    phase = np.cumsum(pitch) / SAMPLE_RATE % 1
    opening = phase / habits.open_quotient
    flow = np.where(opening < 1, opening**2 * (1 - opening), 0)
    derivative = np.diff(flow, prepend=0) * SAMPLE_RATE / pitch
    soft = habits.softness
    return signal.lfilter([1 - soft], [1, -soft], derivative).astype(np.float32)


def _formant_gain(frequencies, formants):
    """Gain [F, T] of a cascade of resonances at `formants` [7, T]; 1 at 0 Hz."""
    squared = frequencies[:, None] ** 2
    power = np.ones((len(squared), formants.shape[1]), dtype=np.float32)
    for centre, bandwidth in zip(formants, _BANDWIDTHS, strict=True):
        ratio = squared / centre**2
        power *= (1 - ratio) ** 2 + ratio * (np.float32(bandwidth) / centre) ** 2
    return 1 / np.sqrt(power)


def _nasal_gain(frequencies, habits):
    """Gain [F] of the open nose: it adds resonances at 270 and 1000 Hz and takes out 650 Hz."""
    loss, scale = np.zeros_like(frequencies), np.float32(habits.tract)
    for centre, width, decibels in (
        (270, 130, 9),
        (650, 230, -22),
        (1000, 150, 6),
        (2600, 700, -9),
    ):
        offset = (frequencies - centre * scale) / width
        loss += decibels * np.exp(-0.5 * offset**2)
    return 10 ** (np.float32(habits.nasality / 20) * loss)


def _record(speech, rng):
    """Room, microphone, background noise and level: all drawn per clip."""
    num_taps = round(rng.uniform(0.02, 0.12) * SAMPLE_RATE)
    room = rng.standard_normal(num_taps) * np.exp(-5 * np.arange(num_taps) / num_taps)
    room *= rng.uniform(0, 0.3) / np.sqrt((room**2).sum())
    room[0] = 1.0
    speech = signal.fftconvolve(speech, room)[: len(speech)]
    tilt = rng.uniform(-0.3, 0.5)
    speech = signal.lfilter([1, -tilt], [1], speech)
    noise = signal.lfilter([1], [1, -rng.uniform(0, 0.9)], rng.standard_normal(len(speech)))
    snr = rng.uniform(25, 40)  # dB
    noise *= speech.std() / noise.std() * 10 ** (-snr / 20)
    recording = speech + noise
    level = 10 ** (rng.uniform(-40, -20) / 20)  # effective value, so that no habit shows in it
    return np.clip(level * recording / recording.std(), -1, 1)
