"""The embedded speech: the 35 Speech Commands words, spoken on this machine by the eSpeak NG synthesizer."""

from __future__ import annotations

import importlib.util
import json
import re
import struct
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from quantbench.data import audio, espeak_process, speech_words, spoken_words_mixing
from quantbench.data.audio import AUDIO_NORMALIZATION, CLIP_SAMPLES
from quantbench.data.source import Arrays, Decoded, Progress, Source, source_digest
from quantbench.data.speech_words import WORDS
from quantbench.data.spoken_words_mixing import mixed, resampled
from quantbench.errors import DataError, DataMissingError
from quantbench.extras import version_of
from quantbench.temporary import temporary_folder

TRAIN_CLIPS_PER_WORD, TEST_CLIPS_PER_WORD = 340, 150
# One voice in so many is kept for the test, together with all its variants.
TEST_SHARE = 4
SEED = 20_161_001
ACCENTS = ("en", "en-us", "en-gb-scotland", "en-029", "en-gb-x-rp", "en-gb-x-gbclan", "en-gb-x-gbcwmd", "en-us-nyc")
WORDS_PER_MINUTE, PITCHES, PITCH_RANGES = (130, 261), (25, 76), (20, 81)
# Variants numbered within a family, such as steph2, are one speaker's; m1 … and f1 … are different people.
DIFFERENT_PEOPLE = re.compile(r"[mf]\d")
# Utterances of the same side that later clips may hear behind them.
REMEMBERED = 64
PACKAGE = "espeakng_loader"
DISTRIBUTION = "espeakng-loader"


@dataclass(frozen=True)
class _Utterance:
    word: int
    variant: str
    accent: str
    words_per_minute: int
    pitch: int
    pitch_range: int

    def request(self) -> list[str | int]:
        voice = f"{self.accent}+{self.variant}"
        return [voice, WORDS[self.word], self.words_per_minute, self.pitch, self.pitch_range]


class SpokenWordsSource(Source):
    """11,900 training and 5,250 test clips, no voice on both sides."""

    normalization = AUDIO_NORMALIZATION
    platform_dependent = True
    obtain = f"pip install 'quantbench-suite[speech]' (adds {DISTRIBUTION}, GPL-3.0, run as a separate program)"

    def fingerprint(self) -> str:
        """The synthesizer's version and the source of what is done with its speech."""
        if importlib.util.find_spec(PACKAGE) is None:
            raise DataMissingError(
                f"spoken_words: the eSpeak NG synthesizer is not installed. To get it: {self.obtain}", is_offered=True
            )
        made_by = source_digest(
            __file__, espeak_process.__file__, spoken_words_mixing.__file__, audio.__file__, speech_words.__file__
        )
        return f"spoken_words:{version_of(DISTRIBUTION)}:{made_by}"

    def decode(self, progress: Progress) -> Decoded:
        """Speaks and mixes both sides."""
        library, data = _espeak()
        sides = plan(sorted(path.name for path in (data / "voices" / "!v").iterdir()))
        utterances = [utterance for side in sides for utterance in side]
        families = sorted({_family(utterance.variant) for utterance in utterances})
        spoken = _speak(library, data, utterances)
        arrays = []
        done = 0
        for stream, side in enumerate(sides):
            random = np.random.RandomState(SEED + 1 + stream)
            clips = np.empty((len(side), 1, CLIP_SAMPLES), dtype=np.int16)
            remembered: deque[NDArray[np.int64]] = deque(maxlen=REMEMBERED)
            for clip in clips:
                word = next(spoken)
                clip[0] = mixed(word, list(remembered), random)
                remembered.append(word)
                done += 1
                progress(done, len(utterances))
            labels = np.array([utterance.word for utterance in side], dtype=np.int64)
            speakers = np.array([families.index(_family(utterance.variant)) for utterance in side], dtype=np.int64)
            arrays.append(Arrays(clips, labels, speakers))
        return Decoded(arrays[0], arrays[1], WORDS)


def plan(variants: list[str]) -> tuple[list[_Utterance], list[_Utterance]]:
    """Utterances of the training and of the test side: speaker, word, rate and pitch of each.

    Args:
        variants: the synthesizer's voice variants, sorted.
    """
    random = np.random.RandomState(SEED)
    families = sorted({_family(variant) for variant in variants})
    order = [families[i] for i in random.permutation(len(families))]
    kept = set(order[: len(order) // TEST_SHARE])
    sides = []
    for is_test, per_word in ((False, TRAIN_CLIPS_PER_WORD), (True, TEST_CLIPS_PER_WORD)):
        speakers = [variant for variant in variants if (_family(variant) in kept) == is_test]
        side = [
            _Utterance(
                word,
                speakers[random.randint(len(speakers))],
                ACCENTS[random.randint(len(ACCENTS))],
                int(random.randint(*WORDS_PER_MINUTE)),
                int(random.randint(*PITCHES)),
                int(random.randint(*PITCH_RANGES)),
            )
            for word in np.repeat(np.arange(len(WORDS)), per_word).tolist()
        ]
        # Mixed, so that what babbles behind a word is not the same word.
        sides.append([side[i] for i in random.permutation(len(side))])
    return sides[0], sides[1]


def _family(variant: str) -> str:
    return variant if DIFFERENT_PEOPLE.fullmatch(variant) else variant.rstrip("0123456789").lower()


def _espeak() -> tuple[Path, Path]:
    import espeakng_loader

    return Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())


def _speak(library: Path, data: Path, utterances: list[_Utterance]) -> Iterator[NDArray[np.int64]]:
    """Every utterance at 8 kHz, from one fresh process of the synthesizer, while it goes on speaking.

    Raises:
        DataError: if the synthesizer ends early, with its last words.
    """
    with temporary_folder() as folder, tempfile.TemporaryFile("w+") as errors:
        requests = Path(folder, "requests.json")
        requests.write_text(json.dumps([utterance.request() for utterance in utterances]), encoding="utf-8")
        command = [sys.executable, "-I", espeak_process.__file__, str(library), str(data), str(requests)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors) as process:  # noqa: S603 — our own program
            assert process.stdout is not None  # noqa: S101 — a pipe was asked for
            try:
                (rate,) = struct.unpack("<i", process.stdout.read(4))
                for _ in utterances:
                    yield resampled(_frame(process.stdout), rate)
            except (struct.error, EOFError):
                process.wait()
                errors.seek(0)
                last = errors.read().strip().splitlines()
                reason = last[-1] if last else f"exit status {process.returncode}"
                raise DataError(f"spoken_words: the eSpeak NG process ended early: {reason}") from None
            finally:
                process.kill()


def _frame(stream: IO[bytes]) -> NDArray[np.int16]:
    (n,) = struct.unpack("<i", stream.read(4))
    samples = stream.read(2 * n)
    if len(samples) < 2 * n:
        raise EOFError
    return np.frombuffer(samples, dtype="<i2")


def spoken_words() -> SpokenWordsSource:
    """The embedded speech, 35 words at 8 kHz, `[n, 1, 8000]`.

    Example:
        >>> spoken_words().platform_dependent
        True
    """
    return SpokenWordsSource()
