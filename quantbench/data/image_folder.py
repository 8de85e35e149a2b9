"""People's own images: `<root>/train/<class>/*` and `<root>/test/<class>/*`."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from quantbench.data import folders, framing, jpeg, pictures
from quantbench.data.folder_source import FolderSource
from quantbench.data.folders import ClassFolders, FolderFile
from quantbench.data.framing import WITHOUT_ANTIALIAS, Framing, Interpolation
from quantbench.data.pictures import Channels, PictureFormat, decode_picture, strict_pillow
from quantbench.data.presets import Preset, preset_of
from quantbench.data.source import Normalization, Progress, SteppedNormalization, source_digest
from quantbench.extras import version_of
from quantbench.files import printable


def _within_unit(value: float) -> float:
    """A statistic of values in 0..1; one of values in 0..255 would make every picture nearly the same to a model."""
    if not 0 <= value <= 1:
        raise PydanticCustomError("unit", "is not within 0..1, to which pictures are scaled first; divide it by 255")
    return value


Unit = Annotated[float, AfterValidator(_within_unit)]
PositiveUnit = Annotated[float, Field(gt=0), AfterValidator(_within_unit)]
Means = Annotated[tuple[Unit, ...], Field(min_length=1, max_length=3)]
Deviations = Annotated[tuple[PositiveUnit, ...], Field(min_length=1, max_length=3)]
Side = Annotated[int, Field(ge=8, le=1024)]
Byte = Annotated[int, Field(ge=0, le=255)]
Colour = tuple[Byte, Byte, Byte]
# Statistics of CIFAR-10's training images; a fair default for small photographs.
DEFAULT_MEAN = (0.4914, 0.4822, 0.4465)
DEFAULT_STD = (0.2470, 0.2435, 0.2616)
DEFAULT_SIZE = 32
FULL_SCALE = 255.0


class ImageFolderSource(FolderSource):
    """Images in one folder per class, decoded to squares of RGB, BGR or grey.

    Args:
        root: as a workload file gives it.
        wanted: squares and channels.
        normalization: of the samples.
        obtain: the command or place to get the data, shown when it is absent.
    """

    format: PictureFormat
    normalization: Normalization

    def __init__(self, root: str, wanted: PictureFormat, normalization: Normalization, obtain: str) -> None:
        super().__init__(root, obtain)
        self.format = wanted
        self.normalization = normalization

    @property
    def sample_bytes(self) -> int:  # type: ignore[override]
        """Of one decoded image."""
        return int(np.prod(self.format.shape))

    @property
    def size(self) -> int:
        """Side of the images, pixels."""
        return self.format.framing.size

    def folders(self) -> ClassFolders:
        """Images, also in folders below that of their class."""
        return ClassFolders(self.root, "image", nested=True)

    def facts(self) -> str:
        """The format, the decoder and the version of the library that it calls."""
        modules = (folders, pictures, framing, jpeg)
        made_by = source_digest(__file__, *(str(module.__file__) for module in modules))
        return f"image_folder:{self.format}:{made_by}:{version_of('pillow')}{self._resized_by()}"

    def _resized_by(self) -> str:
        return "" if self.format.framing.antialias else f":{version_of('torch')}:{version_of('torchvision')}"

    def decode_files(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """`[n, channels, size, size]` uint8."""
        return self._decoded(files, progress, is_known=False)

    def decode_again(self, files: list[FolderFile], progress: Progress) -> NDArray[np.generic]:
        """The same, in half the time for photographs."""
        return self._decoded(files, progress, is_known=True)

    def _decoded(self, files: list[FolderFile], progress: Progress, is_known: bool) -> NDArray[np.generic]:
        inputs = np.empty((len(files), *self.format.shape), dtype=np.uint8)
        with strict_pillow():
            for i, file in enumerate(files):
                with self.contents.opened(file.path, file.identity) as stream:
                    inputs[i] = decode_picture(stream, printable(file.path), self.format, is_known)
                progress(i + 1, len(files))
        return inputs


class PresetFolderSource(ImageFolderSource):
    """Images as torchvision's transforms of named weights prepare them; torchvision is asked when they are opened.

    Args:
        root: as a workload file gives it.
        weights: name of the weights.
        shown: how pictures are shown in 8 bits; its framing is taken from the weights.
        obtain: the command or place to get the data, shown when it is absent.
    """

    def __init__(self, root: str, weights: str, shown: PictureFormat, obtain: str) -> None:
        FolderSource.__init__(self, root, obtain)
        self.weights, self._shown = weights, shown

    @cached_property
    def preset(self) -> Preset:
        """The weights' transforms.

        Raises:
            DataError: if torchvision knows no such weights, or prepares pictures for them in another way.
        """
        return preset_of(self.weights)

    @cached_property
    def format(self) -> PictureFormat:  # type: ignore[override]
        """See `ImageFolderSource`."""
        return replace(self._shown, framing=self.preset.framing)

    @cached_property
    def normalization(self) -> Normalization:  # type: ignore[override]
        """See `ImageFolderSource`."""
        mean, std = self.preset.mean, self.preset.std
        if self._shown.channels == "bgr":
            mean, std = mean[::-1], std[::-1]
        return SteppedNormalization(FULL_SCALE, mean, std)


def image_folder(
    root: str,
    size: Side | None = None,
    mean: Means | None = None,
    std: Deviations | None = None,
    full_scale: Annotated[int, Field(ge=255, le=65_535)] | None = None,
    background: Colour | None = None,
    obtain: str = "",
    resize: Side | None = None,
    crop: Side | None = None,
    interpolation: Interpolation | None = None,
    antialias: bool | None = None,
    channels: Channels = "rgb",
    exif: bool = True,
    weights: str = "",
) -> ImageFolderSource:
    """Images in `<root>/{train,test}/<class>/`.

    Args:
        root: a folder, with `~` and `$VAR`; a relative one is looked for beside the workload file, then under
            `$QUANTBENCH_DATA`.
        size: side of the square images, pixels, into which whole pictures are squeezed; 32 unless `crop` is given.
        mean: per channel, of values in 0..1, in the order of the channels; of CIFAR-10 unless it is given.
        std: per channel, of values in 0..1.
        full_scale: of grey images of 16 bits, the value that is white; without it they are refused.
        background: RGB in 0..255 behind transparent images; without it they are refused.
        obtain: the command or place to get the data, shown when it is absent.
        resize: length of the shorter side before `crop`, pixels.
        crop: side of the square in the middle that is cut out, pixels. With it samples are those of torchvision's
            `Resize(resize)`, `CenterCrop(crop)`, `ToTensor()`, `Normalize(mean, std)`, to the last bit.
        interpolation: nearest, bilinear (the default), bicubic, lanczos, box or hamming, as Pillow does them.
        antialias: false for torch's interpolation, which does not widen its filter where a picture shrinks.
        channels: rgb, bgr or grey.
        exif: turn pictures upright by their EXIF orientation, which torchvision's loader does not.
        weights: name of weights of torchvision, `ResNet50_Weights.IMAGENET1K_V2`, whose transforms prepare the
            pictures; in place of size, resize, crop, interpolation, antialias, mean and std.

    Raises:
        ValueError: if parameters contradict each other.

    Example:
        >>> image_folder("photos", size=64).size
        64
        >>> image_folder("photos", resize=256, crop=224, interpolation="bicubic").format.framing.resize
        256
    """
    if weights:
        _check_alone(channels, size=size, resize=resize, crop=crop, interpolation=interpolation, antialias=antialias,
                     mean=mean, std=std)  # fmt: skip
        shown = PictureFormat(Framing(DEFAULT_SIZE), full_scale, background, channels, exif)
        return PresetFolderSource(root, weights, shown, obtain)
    square = _framing(size, resize, crop, interpolation or "bilinear", antialias is not False)
    means, deviations = _statistics(channels, mean, std)
    kind = Normalization if crop is None else SteppedNormalization
    wanted = PictureFormat(square, full_scale, background, channels, exif)
    return ImageFolderSource(root, wanted, kind(FULL_SCALE, means, deviations), obtain)


def _check_alone(channels: Channels, **own: object) -> None:
    """Refuses parameters beside the weights whose transforms tell them.

    Args:
        channels: of the pictures.
        own: those parameters; None is not given.
    """
    if given := [name for name, value in own.items() if value is not None]:
        raise ValueError(f"weights and {given[0]}: the transforms of the weights tell it; leave one of them out")
    if channels == "grey":
        raise ValueError("weights and channels: grey: torchvision's weights take three channels")


def _framing(
    size: int | None, resize: int | None, crop: int | None, interpolation: Interpolation, antialias: bool
) -> Framing:
    if not antialias and interpolation not in WITHOUT_ANTIALIAS:
        raise ValueError(f"antialias: false and interpolation: {interpolation}; give {', '.join(WITHOUT_ANTIALIAS)}")
    if crop is None:
        if resize is not None:
            raise ValueError(f"resize: {resize} and no crop: the shorter side alone makes no squares; give crop")
        return Framing(size or DEFAULT_SIZE, None, interpolation, antialias)
    if size is not None:
        raise ValueError(f"size: {size} and crop: {crop}; give size to squeeze whole pictures, or resize and crop")
    if resize is not None and resize < crop:
        raise ValueError(f"crop: {crop} is more than resize: {resize} leaves of the shorter side; give less")
    return Framing(crop, resize or 0, interpolation, antialias)


def _statistics(
    channels: Channels, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation, one for each channel."""
    n = 1 if channels == "grey" else 3
    for name, values in (("mean", mean), ("std", std)):
        if values is None and n == 1:
            raise ValueError(f"{name}: is not given; name the one that the model was trained with, such as [0.5]")
        if values is not None and len(values) != n:
            raise ValueError(f"{name}: {len(values)} values for channels: {channels}; give {n}")
    means, deviations = mean or DEFAULT_MEAN, std or DEFAULT_STD
    # The defaults are of RGB.
    if channels == "bgr":
        means, deviations = (means if mean else means[::-1]), (deviations if std else deviations[::-1])
    return means, deviations
