"""Synthesized speech → clips of the spoken words: resampled, placed, scaled and mixed with noise.

Everything is computed on integers (or on float64 that holds integers below 2^53, where every order of summation gives
the same), so that equal speech gives equal clips on every processor.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from numpy.typing import NDArray

from quantbench.data.audio import CLIP_SAMPLES, SAMPLE_RATE

# Of the resampling filter: cut-off below half the new rate, length in input samples, bits of its integer taps.
CUTOFF_HZ, FILTER_INPUTS, TAP_BITS = 3_600, 32, 15
# Quieter than this is the silence around a word.
SILENCE = 200
# Level of the speech, root mean square relative to full scale: people speak near and far from their microphones.
LEVELS_DB = (-36, -14)
# Speech above noise.
SNRS_DB = (6, 30)
NOISES = ("hiss", "rumble", "babble")
# Samples over which rumble is smoothed.
RUMBLE_SMOOTHING = 24
# Utterances of other words that make up a babble.
BABBLERS = 3
Sound = NDArray[np.int64]


def resampled(speech: NDArray[np.int16], rate: int) -> Sound:
    """Speech at the synthesizer's rate, silence cut off at both ends, as `[n]` int64 at 8 kHz."""
    from scipy.signal import upfirdn

    loud = np.flatnonzero(np.abs(speech.astype(np.int64)) > SILENCE)
    if len(loud) == 0:
        return np.zeros(0, dtype=np.int64)
    heard = speech[loud[0] : loud[-1] + 1].astype(np.float64)
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    taps, delay = _taps(up, down, rate)
    filtered = upfirdn(taps, heard, up, down)[delay:]
    n = -(-len(heard) * up // down)
    narrow: Sound = filtered[:n].astype(np.int64) >> TAP_BITS
    return narrow


@cache
def _taps(up: int, down: int, rate: int) -> tuple[NDArray[np.float64], int]:
    """Integer taps, as float64, whose gain is `up`, to make good for the zeros between input samples; and the outputs
    by which they delay, a whole number thanks to zeros in front."""
    from scipy.signal import firwin

    taps = firwin(FILTER_INPUTS * up + 1, CUTOFF_HZ, fs=rate * up) * up
    delay = (len(taps) - 1) // 2
    in_front = -delay % down
    rounded = np.rint(taps * (1 << TAP_BITS))
    return np.concatenate([np.zeros(in_front), rounded]), (delay + in_front) // down


def mixed(word: Sound, others: list[Sound], random: np.random.RandomState) -> NDArray[np.int16]:
    """One clip `[CLIP_SAMPLES]` int16: a word somewhere in a second of noise.

    Args:
        word: `[n]` at 8 kHz.
        others: what may babble behind it.
        random: decides place, levels and noise.
    """
    word = word[:CLIP_SAMPLES]
    clip = np.zeros(CLIP_SAMPLES, dtype=np.int64)
    start = int(random.randint(0, CLIP_SAMPLES - len(word) + 1))
    level_db = int(random.randint(LEVELS_DB[0], LEVELS_DB[1] + 1))
    snr_db = int(random.randint(SNRS_DB[0], SNRS_DB[1] + 1))
    clip[start : start + len(word)] = _at_level(word, level_db)
    clip += _at_level(_noise(NOISES[random.randint(len(NOISES))], others, random), level_db - snr_db)
    return np.clip(clip, -32_768, 32_767).astype(np.int16)


def _noise(kind: str, others: list[Sound], random: np.random.RandomState) -> Sound:
    """`[CLIP_SAMPLES]` noise of some level."""
    if kind == "babble" and others:
        babble = np.zeros(CLIP_SAMPLES, dtype=np.int64)
        for _ in range(BABBLERS):
            other = others[random.randint(len(others))][:CLIP_SAMPLES]
            start = int(random.randint(0, CLIP_SAMPLES - len(other) + 1))
            babble[start : start + len(other)] += other
        return babble
    smoothing = RUMBLE_SMOOTHING if kind == "rumble" else 1
    # The sum of four uniform variables is close enough to a normal one, and made of integers.
    white = random.randint(-8_192, 8_193, (4, CLIP_SAMPLES + smoothing)).sum(axis=0, dtype=np.int64)
    summed: Sound = np.cumsum(white)
    return summed[smoothing:] - summed[:-smoothing]


def _at_level(sound: Sound, level_db: int) -> Sound:
    """The sound scaled to a root mean square of so many decibels relative to full scale."""
    energy = int(np.square(sound).sum())
    if energy == 0:
        return sound
    rms = max(math.isqrt((energy << 16) // len(sound)), 1)
    # `rms` carries 8 extra bits, the gain 16.
    gain = (round(32_768 * 10 ** (level_db / 20)) << 24) // rms
    return (sound * gain) >> 16
