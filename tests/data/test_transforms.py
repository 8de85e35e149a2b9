"""Pictures are prepared as torchvision's transforms do it, to the last bit, or refused by what contradicts itself."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models, transforms
from torchvision.transforms import InterpolationMode, functional

from quantbench.data.image_folder import image_folder
from quantbench.data.pictures import decode_picture, strict_pillow
from quantbench.errors import ConfigError, DataError
from quantbench.registry import DATA

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# Sides whose halves and quotients are rounded one way or the other.
SIZES = ((61, 47), (47, 61), (48, 48), (63, 40), (40, 41))


def picture(width, height, mode="RGB"):
    values = np.random.RandomState(width * height).randint(0, 256, (height, width, 3)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


def stream_of(image):
    stream = io.BytesIO()
    image.save(stream, "PNG")
    stream.seek(0)
    return stream


def ours(image, **params):
    """A picture as a model is given it, `[channels, crop, crop]`, of arrays and of tensors."""
    source = image_folder("photos", **params)
    with strict_pillow():
        stored = decode_picture(stream_of(image), "x.png", source.format)[None]
    prepared = source.normalization(stored)
    np.testing.assert_array_equal(source.normalization(torch.from_numpy(stored.copy())).numpy(), prepared)
    assert prepared.dtype == np.float32
    return prepared[0]


def theirs(image, resize, crop, interpolation="bilinear"):
    steps = [transforms.Resize(resize, InterpolationMode(interpolation))] if resize else []
    steps += [transforms.CenterCrop(crop), transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    return transforms.Compose(steps)(image).numpy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"])
def test_resized_and_cropped_pictures_are_those_of_torchvision(size, interpolation):
    image = picture(*size)
    found = ours(image, resize=36, crop=32, interpolation=interpolation, mean=MEAN, std=STD)
    np.testing.assert_array_equal(found, theirs(image, 36, 32, interpolation))


@pytest.mark.parametrize("size", SIZES)
def test_pictures_that_are_only_cropped_are_those_of_torchvision(size):
    np.testing.assert_array_equal(ours(picture(*size), crop=39, mean=MEAN, std=STD), theirs(picture(*size), None, 39))


def test_pictures_that_grow_are_those_of_torchvision():
    np.testing.assert_array_equal(
        ours(picture(61, 47), resize=70, crop=70, mean=MEAN, std=STD), theirs(picture(61, 47), 70, 70)
    )


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
def test_pictures_without_antialiasing_are_those_of_tensors_in_torchvision(interpolation):
    image = picture(61, 47)
    tensor = functional.resize(functional.pil_to_tensor(image), 36, InterpolationMode(interpolation), antialias=False)
    expected = functional.normalize(functional.convert_image_dtype(functional.center_crop(tensor, [32, 32])), MEAN, STD)
    found = ours(image, resize=36, crop=32, interpolation=interpolation, antialias=False, mean=MEAN, std=STD)
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize(
    "weights",
    ["ResNet50_Weights.IMAGENET1K_V2", "ViT_B_16_Weights.IMAGENET1K_SWAG_E2E_V1", "Inception_V3_Weights.DEFAULT"],
)
def test_pictures_are_prepared_as_the_transforms_of_named_weights_do(weights):
    image = picture(411, 390)
    np.testing.assert_array_equal(ours(image, weights=weights), models.get_weight(weights).transforms()(image).numpy())


def test_the_channels_of_bgr_are_those_of_rgb_in_reverse_with_statistics_in_their_order():
    image = picture(40, 41)
    rgb = ours(image, crop=32, mean=MEAN, std=STD)
    np.testing.assert_array_equal(ours(image, crop=32, mean=MEAN[::-1], std=STD[::-1], channels="bgr"), rgb[::-1])
    np.testing.assert_array_equal(ours(image, size=40, channels="bgr"), ours(image, size=40)[::-1])
    weights = "ResNet18_Weights.DEFAULT"
    np.testing.assert_array_equal(ours(picture(300, 300), weights=weights, channels="bgr"),
                                  ours(picture(300, 300), weights=weights)[::-1])  # fmt: skip


def test_grey_pictures_have_one_channel_as_torchvision_makes_it():
    image = picture(61, 47)
    steps = transforms.Compose(
        [transforms.Grayscale(), transforms.Resize(36), transforms.CenterCrop(32), transforms.ToTensor(),
         transforms.Normalize([0.5], [0.25])]
    )  # fmt: skip
    found = ours(image, resize=36, crop=32, channels="grey", mean=(0.5,), std=(0.25,))
    assert found.shape == (1, 32, 32)
    np.testing.assert_array_equal(found, steps(image).numpy())


def test_the_orientation_of_a_camera_is_left_alone_where_that_is_asked_for():
    image, stream = picture(32, 16), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 3
    image.save(stream, "PNG", exif=exif)
    for is_upright, expected in ((True, np.asarray(image)[::-1, ::-1]), (False, np.asarray(image))):
        stream.seek(0)
        wanted = image_folder("photos", crop=16, exif=is_upright).format
        with strict_pillow():
            found = decode_picture(stream, "x.png", wanted).transpose(1, 2, 0)
        np.testing.assert_array_equal(found, expected[:, 8:24])


def test_a_picture_smaller_than_the_crop_is_refused_by_its_path_instead_of_padded():
    with pytest.raises(DataError) as caught:
        ours(picture(61, 30), crop=32)
    assert str(caught.value) == (
        "x.png: is 61 × 30 pixels, less than the 32 that are cropped; set data.resize to the length that the shorter "
        "side is resized to first"
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"resize": 64}, "resize: 64 and no crop: the shorter side alone makes no squares; give crop"),
        ({"size": 32, "crop": 32}, "size: 32 and crop: 32; give size to squeeze whole pictures, or resize and crop"),
        ({"resize": 32, "crop": 64}, "crop: 64 is more than resize: 32 leaves of the shorter side; give less"),
        ({"antialias": False, "interpolation": "lanczos", "crop": 32},
         "antialias: false and interpolation: lanczos; give nearest, bilinear, bicubic"),
        ({"channels": "grey"}, "mean: is not given; name the one that the model was trained with, such as [0.5]"),
        ({"channels": "grey", "mean": [0.5] * 3, "std": [0.5]}, "mean: 3 values for channels: grey; give 1"),
        ({"mean": [0.5]}, "mean: 1 values for channels: rgb; give 3"),
        ({"weights": "ResNet18_Weights.DEFAULT", "mean": [0.5] * 3},
         "weights and mean: the transforms of the weights tell it; leave one of them out"),
        ({"weights": "ResNet18_Weights.DEFAULT", "channels": "grey"},
         "weights and channels: grey: torchvision's weights take three channels"),
        ({"interpolation": "cubic"}, "'nearest', 'bilinear', 'bicubic', 'lanczos', 'box' or 'hamming'"),
    ],
)  # fmt: skip
def test_parameters_that_contradict_each_other_are_refused(params, told):
    with pytest.raises(ConfigError) as caught:
        DATA.create("image_folder", "a.yaml: workload.data", {"root": "photos", **params})
    assert "a.yaml: workload.data" in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("weights", "told"),
    [
        ("ResNet50_Weights.IMAGENET1K_V9", "Did you mean 'ResNet50_Weights.IMAGENET1K_V2'?"),
        ("resnet50", "unknown weights of torchvision 'resnet50'"),
        ("FCN_ResNet50_Weights.DEFAULT", "its transforms are SemanticSegmentation, for no classification of pictures"),
    ],
)
def test_weights_that_tell_no_squares_are_refused(weights, told):
    with pytest.raises(DataError) as caught:
        _ = image_folder("photos", weights=weights).format
    assert told in str(caught.value)
    assert str(caught.value).startswith("data.weights: ")


def test_torchvision_is_not_asked_before_the_pictures_are_opened(monkeypatch):
    monkeypatch.setattr(models, "get_weight", None)
    assert image_folder("photos", weights="ResNet18_Weights.DEFAULT").weights == "ResNet18_Weights.DEFAULT"
