"""Speech Commands v0.02 (Warden 2018, arXiv:1804.03209): recorded words, by torchaudio's lists, at 8 kHz."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantbench.data import audio, folders
from quantbench.data.audio import AUDIO_NORMALIZATION, CLIP_SAMPLES, ClipFormat, decode_clips
from quantbench.data.file_source import FileSource, Listing
from quantbench.data.folders import TAKE_OUT, ClassFolders, FolderFile, visible
from quantbench.data.source import Progress, download_allowed, source_digest
from quantbench.data.speech_words import WORDS, check_words
from quantbench.errors import DataError, DataMissingError
from quantbench.extras import require, version_of
from quantbench.files import data_dir, printable

FOLDER = Path("SpeechCommands", "speech_commands_v0.02")
RATE = 16_000
SUFFIX = ".wav"
# Of the files beside the words' folders, and the folder beside them that is no word's.
DOCUMENTS = ("", ".md", ".tsv", ".txt")
NOISE = "_background_noise_"
# A class with fewer clips than this cannot be learned, or be judged.
LEAST_TRAIN_CLIPS = 50
LEAST_TEST_CLIPS = 20
SplitBy = Literal["auto", "official", "speaker"]


@dataclass(frozen=True)
class Clip:
    file: FolderFile
    word: str
    speaker: str
    is_test: bool

    @property
    def path(self) -> Path:
        """The clip's file."""
        return Path(self.file.path)


class SpeechCommandsSource(FileSource):
    """Clips of the chosen words below `$QUANTBENCH_DATA/SpeechCommands`."""

    normalization = AUDIO_NORMALIZATION
    sample_bytes = 2 * CLIP_SAMPLES
    obtain = "--real-data, which lets torchaudio download Speech Commands v0.02 (2.3 GB, 105,829 clips)"

    def __init__(self, words: tuple[str, ...], split: SplitBy, test_percent: int) -> None:
        super().__init__()
        self.words = words
        self.split = split
        self.test_percent = test_percent
        self.folder = data_dir() / FOLDER
        self.root = self.folder
        self._known: list[Clip] | None = None
        self._in_order: list[Clip] | None = None

    def classes(self) -> tuple[str, ...]:
        """The words."""
        return self.words

    def listing(self, side: str) -> Listing:
        """Clips of a side, with their speakers as groups."""
        clips = [clip for clip in self.ordered() if clip.is_test == (side == "test")]
        return Listing(
            [clip.file for clip in clips],
            np.array([self.words.index(clip.word) for clip in clips], dtype=np.int64),
            np.array([int(clip.speaker, 16) for clip in clips], dtype=np.int64),
        )

    def facts(self) -> str:
        """The words, the split, the decoder and the versions of the libraries that it calls."""
        made_by = source_digest(__file__, audio.__file__, folders.__file__)
        libraries = f"{version_of('soundfile')}:{version_of('torchaudio')}"
        n_train = sum(not clip.is_test for clip in self.ordered())
        return f"speech_commands:{','.join(self.words)}:{n_train}:{made_by}:{libraries}"

    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """`[n, 1, 8000]` int16."""
        return decode_clips(files, ClipFormat(source_rate=RATE), progress, self.contents)

    def ordered(self) -> list[Clip]:
        """Every clip, in the order of the samples: the training side first."""
        if self._in_order is None:
            self._in_order = sorted(self._clips(), key=lambda clip: (clip.is_test, clip.path))
        return self._in_order

    def _clips(self) -> list[Clip]:
        """Every clip of the words, with its side; read once."""
        if self._known is None:
            listed = self._listed()
            official = self.split != "speaker" and (self.split == "official" or not _too_few(listed, self.words))
            self._known = listed if official else [self._by_speaker(clip) for clip in listed]
            if problem := _too_few(self._known, self.words):
                how = "the official lists" if official else f"a split by speaker, {self.test_percent} % for the test"
                instead = ", split by speaker (data.split: speaker)" if official else ""
                raise DataError(
                    f"{self.folder}: by {how}, {problem}: leave these words out of data.words{instead}, or get all of "
                    "Speech Commands"
                )
        return self._known

    def _listed(self) -> list[Clip]:
        """The official lists; the validation list belongs to the training side, of which we set aside our own."""
        if not self.folder.is_dir() and not download_allowed():
            raise DataMissingError(f"{self.folder}: no such folder. To get it: {self.obtain}", is_offered=True)
        require("speech_commands", "torchaudio", "soundfile")
        from torchaudio.datasets import SPEECHCOMMANDS

        found = self._walked()
        clips: list[Clip] = []
        try:
            for subset in ("training", "validation", "testing"):
                data_dir().mkdir(parents=True, exist_ok=True)
                side = SPEECHCOMMANDS(data_dir(), download=download_allowed(), subset=subset)
                clips += [clip for i in range(len(side)) if (clip := self._clip(side, i, subset == "testing", found))]
        except (RuntimeError, OSError, ValueError) as error:
            raise DataError(
                f"{self.folder}: Speech Commands cannot be read ({str(error).splitlines()[0]}). Remove the folder and "
                "get it again with --real-data"
            ) from None
        self._check_listed(found, clips)
        return clips

    def _walked(self) -> dict[str, FolderFile]:
        """The files of our words, by path.

        Raises:
            DataError: naming an entry that is neither a word's folder nor one of Speech Commands' documents.
        """
        if not self.folder.is_dir():
            return {}
        for entry in visible(self.folder):
            is_word = entry.name in (*WORDS, NOISE)
            if not is_word if entry.is_dir() else Path(entry.name).suffix.lower() not in DOCUMENTS:
                raise DataError(f"{printable(entry.path)}: is no folder of one of the {len(WORDS)} words; {TAKE_OUT}")
        words = ClassFolders(self.folder, "clip", "word")
        return {file.path: file for word in self.words for file in words.of_class(word)}

    def _clip(self, side: Any, i: int, is_test: bool, found: dict[str, FolderFile]) -> Clip | None:
        """Clip `i` of torchaudio's list; None where its word is not one of ours."""
        try:
            place, _, word, speaker, _ = side.get_metadata(i)
            path = data_dir() / FOLDER.parent / place
            if path.parent.parent != self.folder:
                raise ValueError
            int(speaker, 16)
        except ValueError:
            entry = os.path.relpath(side._walker[i], self.folder)
            raise DataError(
                f"{printable(self.folder)}: '{printable(entry)}' is no clip's place: "
                "<word>/<speaker>_nohash_<number>.wav, the speaker in hexadecimal digits. Correct the name, or the "
                "list that has it"
            ) from None
        if word not in self.words:
            return None
        if str(path) not in found:
            raise DataError(
                f"{path}: is on the official list but not there; the folder is incomplete: remove it and get "
                "Speech Commands again"
            )
        return Clip(found[str(path)], word, speaker, is_test)

    def _check_listed(self, found: dict[str, FolderFile], clips: list[Clip]) -> None:
        """Refuses files that torchaudio's lists leave out without a word."""
        listed = {clip.file.path for clip in clips}
        for path in (path for path in found if path not in listed):
            if not path.endswith(SUFFIX):
                raise DataError(f"{printable(path)}: not a {SUFFIX} file; convert it, or {TAKE_OUT}")
            raise DataError(f"{printable(path)}: has no '_nohash_' in its name, which every clip has; {TAKE_OUT}")

    def _by_speaker(self, clip: Clip) -> Clip:
        """The side that a hash of the speaker gives, as with Warden's own lists: more clips move no speaker."""
        percent = int(hashlib.sha1(clip.speaker.encode(), usedforsecurity=False).hexdigest(), 16) % 100
        return Clip(clip.file, clip.word, clip.speaker, is_test=percent < self.test_percent)


def _too_few(clips: list[Clip], words: tuple[str, ...]) -> str | None:
    """Words with too few clips to be learned or judged, as a message; None if there is none."""
    count = Counter((clip.word, clip.is_test) for clip in clips)
    short = [
        f"'{word}' has {count[word, False]} training and {count[word, True]} test clips"
        for word in words
        if count[word, False] < LEAST_TRAIN_CLIPS or count[word, True] < LEAST_TEST_CLIPS
    ]
    if not short:
        return None
    return f"{'; '.join(short)}; at least {LEAST_TRAIN_CLIPS} and {LEAST_TEST_CLIPS} are needed"


def speech_commands(
    words: tuple[str, ...] = WORDS,
    split: SplitBy = "auto",
    test_percent: Annotated[int, Field(ge=1, le=50)] = 20,
) -> SpeechCommandsSource:
    """Recorded words at 8 kHz, `[n, 1, 8000]`.

    Args:
        words: the classes, any of the 35.
        split: `official` by the published lists; `speaker` by a hash of the speaker over all clips; `auto` official
            where the lists give every word enough clips on both sides, else by speaker.
        test_percent: of the speakers, for a split by speaker.

    Example:
        >>> speech_commands(words=("no", "yes"), split="speaker").words
        ('no', 'yes')
    """
    return SpeechCommandsSource(check_words(words), split, test_percent)
