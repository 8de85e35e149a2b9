"""People's own sounds: `<root>/train/<label>/*.wav` and `<root>/test/<label>/*.flac`, of any sample rate."""

from __future__ import annotations

from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from quantbench.data import audio, folders
from quantbench.data.audio import AUDIO_NORMALIZATION, CLIP_SAMPLES, SAMPLE_RATE, ClipFormat, decode_clips
from quantbench.data.folder_source import FolderSource
from quantbench.data.folders import TAKE_OUT, ClassFolders, FolderFile
from quantbench.data.source import Progress, source_digest
from quantbench.errors import DataError
from quantbench.extras import require, version_of
from quantbench.files import printable

SUFFIXES = (".wav", ".flac")
# Beginnings of such files, by which those with another suffix are known.
RIFF, WAVE_AT, WAVE, FLAC = (b"RIFF", b"RF64"), 8, b"WAVE", b"fLaC"


class AudioFolderSource(FolderSource):
    """Mono sound files in one folder per label, resampled and padded or cut to one length."""

    normalization = AUDIO_NORMALIZATION

    def __init__(self, root: str, clip_format: ClipFormat, obtain: str) -> None:
        super().__init__(root, obtain)
        self.format = clip_format
        self.sample_bytes = 2 * clip_format.clip_samples

    def folders(self) -> ClassFolders:
        """Sound files in the folders of their labels."""
        return ClassFolders(self.root, "sound file", "label", f", as {' or '.join(SUFFIXES)}")

    def facts(self) -> str:
        """The format, the decoder and the version of the library that it calls."""
        require("audio_folder", "soundfile")
        made_by = source_digest(__file__, audio.__file__, folders.__file__)
        return f"audio_folder:{self.format}:{made_by}:{version_of('soundfile')}"

    def check_files(self, files: list[FolderFile]) -> None:
        """See `FolderSource.check_files`: all of them are sounds."""
        if foreign := [file.path for file in files if not self._is_sound(file.path)]:
            more = f" (and {len(foreign) - 1:,} more)" if len(foreign) > 1 else ""
            forms = " or ".join(SUFFIXES)
            raise DataError(f"{printable(foreign[0])}{more}: not a {forms} file; convert it, or {TAKE_OUT}")

    def _is_sound(self, path: str) -> bool:
        if path.lower().endswith(SUFFIXES):
            return True
        with self.contents.opened(path) as stream:
            start = stream.read(WAVE_AT + len(WAVE))
        return start.startswith(FLAC) or (start.startswith(RIFF) and start[WAVE_AT:] == WAVE)

    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """`[n, 1, clip_samples]` int16."""
        return decode_clips(files, self.format, progress, self.contents)


def audio_folder(
    root: str,
    sample_rate: Annotated[int, Field(ge=1_000, le=192_000)] = SAMPLE_RATE,
    clip_samples: Annotated[int, Field(ge=16, le=10_000_000)] = CLIP_SAMPLES,
    obtain: str = "",
) -> AudioFolderSource:
    """Sounds in `<root>/{train,test}/<label>/`, as `[n, 1, clip_samples]`.

    Args:
        root: a folder, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        sample_rate: that every file is brought to, Hz.
        clip_samples: length of a clip at that rate; shorter sounds are padded with silence, longer ones cut.
        obtain: the command or place to get the data, shown when it is absent.

    Example:
        >>> audio_folder("sounds", sample_rate=16_000).root.name
        'sounds'
    """
    return AudioFolderSource(root, ClipFormat(sample_rate, clip_samples), obtain)
