"""People's own sounds: `<root>/train/<label>/*.wav` and `<root>/test/<label>/*.flac`, of any sample rate."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from quantbench.data import audio
from quantbench.data.audio import AUDIO_NORMALIZATION, CLIP_SAMPLES, SAMPLE_RATE, ClipFormat, decode_clips
from quantbench.data.source import Arrays, Decoded, Progress, Source, source_digest
from quantbench.errors import DataError, DataMissingError
from quantbench.extras import require
from quantbench.files import data_dir

SIDES = ("train", "test")
SUFFIXES = (".wav", ".flac")


class AudioFolderSource(Source):
    """Mono sound files in one folder per label, resampled and padded or cut to one length."""

    normalization = AUDIO_NORMALIZATION

    def __init__(self, root: Path, clip_format: ClipFormat, obtain: str) -> None:
        self.root = root
        self.format = clip_format
        self.obtain = obtain

    def fingerprint(self) -> str:
        """Hash of the format, the decoder, and of every file's relative path, length and modification time."""
        decoder = f"{self.format.sample_rate}:{self.format.clip_samples}:{source_digest(audio.__file__)}"
        digest = hashlib.sha256(f"audio_folder:{decoder}".encode())
        for side in SIDES:
            for path in self._files(side):
                stat = path.stat()
                digest.update(f"{path.relative_to(self.root)}:{stat.st_size}:{stat.st_mtime_ns}\n".encode())
        return digest.hexdigest()

    def decode(self, progress: Progress) -> Decoded:
        """Decodes both sides."""
        files = {side: self._files(side) for side in SIDES}
        labels = {side: sorted({path.parent.name for path in found}) for side, found in files.items()}
        if labels["train"] != labels["test"]:
            odd = ", ".join(sorted(set(labels["train"]) ^ set(labels["test"])))
            raise DataError(f"{self.root}: train/ and test/ have different labels: {odd}; give both the same ones")
        classes = labels["train"]
        if len(classes) < 2:
            raise DataError(
                f"{self.root}: one label only, '{classes[0]}'; a classification data set needs at least two"
            )
        require("audio_folder", "soundfile", "torchaudio")
        paths = [*files["train"], *files["test"]]
        clips = decode_clips(paths, self.format, progress)
        classified = np.array([classes.index(path.parent.name) for path in paths], dtype=np.int64)
        n = len(files["train"])
        return Decoded(Arrays(clips[:n], classified[:n]), Arrays(clips[n:], classified[n:]), tuple(classes))

    def _files(self, side: str) -> list[Path]:
        """The sound files of a side, in a fixed order; hidden files are not looked at."""
        folder = self.root / side
        if not folder.is_dir():
            how = self.obtain.replace("$QUANTBENCH_DATA", str(data_dir()))
            how = how or "name the folder that holds train/ and test/ with data.root"
            raise DataMissingError(f"{folder}: no such folder. To get it: {how}")
        files = [path for path in sorted(folder.rglob("*")) if path.is_file() and not _hidden(path, folder)]
        if foreign := [path for path in files if path.suffix.lower() not in SUFFIXES]:
            more = f" (and {len(foreign) - 1:,} more)" if len(foreign) > 1 else ""
            raise DataError(
                f"{foreign[0]}{more}: not a {' or '.join(SUFFIXES)} file; convert it, or take it out of the folder"
            )
        if misplaced := [path for path in files if path.parent.parent != folder]:
            raise DataError(f"{misplaced[0]}: is not in a label's folder; put it into {folder}/<label>/")
        if not files:
            raise DataError(f"{folder}: no sound file; put them into {side}/<label>/, as {' or '.join(SUFFIXES)}")
        return files


def _hidden(path: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in path.relative_to(folder).parts)


def audio_folder(
    root: str,
    sample_rate: Annotated[int, Field(ge=1_000, le=192_000)] = SAMPLE_RATE,
    clip_samples: Annotated[int, Field(ge=16, le=10_000_000)] = CLIP_SAMPLES,
    obtain: str = "",
) -> AudioFolderSource:
    """Sounds in `<root>/{train,test}/<label>/`, as `[n, 1, clip_samples]`.

    Args:
        root: a folder; a relative one is looked for under `$QUANTBENCH_DATA`.
        sample_rate: that every file is brought to, Hz.
        clip_samples: length of a clip at that rate; shorter sounds are padded with silence, longer ones cut.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> audio_folder("sounds", sample_rate=16_000).root.name
        'sounds'
    """
    clip_format = ClipFormat(sample_rate, clip_samples)
    return AudioFolderSource(data_dir() / Path(root).expanduser(), clip_format, obtain)
