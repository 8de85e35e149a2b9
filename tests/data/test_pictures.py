"""A picture is shown in 8 bits as it is, or refused by its path with what to do."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from quantbench.data.framing import Framing
from quantbench.data.pictures import PictureFormat, decode_picture, strict_pillow
from quantbench.errors import ConfigError, DataError
from quantbench.registry import DATA

SIZE = 8
RGB = np.random.RandomState(0).randint(0, 256, (SIZE, SIZE, 3)).astype(np.uint8)


def encoded(image, form="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def shown(content, **wanted):
    """The picture as `[size, size, 3]`."""
    with strict_pillow():
        found = decode_picture(io.BytesIO(content), "x.png", PictureFormat(Framing(SIZE), **wanted))
    assert found.dtype == np.uint8
    return found.transpose(1, 2, 0)


def refusal(content, **wanted):
    with pytest.raises(DataError) as caught:
        shown(content, **wanted)
    told = str(caught.value)
    assert told.startswith("x.png: ")
    assert "\n" not in told
    return told.removeprefix("x.png: ")


def grey16(values):
    return encoded(Image.fromarray(np.asarray(values, np.uint16)))


@pytest.mark.parametrize("form", ["PNG", "BMP", "PPM", "TIFF", "WEBP", "GIF"])
def test_the_content_decides_what_a_file_is(form):
    image = Image.fromarray(RGB)
    exact = {"WEBP": {"lossless": True}}.get(form, {})
    if form == "GIF":
        image = image.quantize(64)
    np.testing.assert_array_equal(shown(encoded(image, form, **exact)), np.asarray(image.convert("RGB")))


def test_a_jpeg_is_one_whatever_its_suffix_says():
    content = encoded(Image.fromarray(RGB), "JPEG", quality=95)
    np.testing.assert_array_equal(shown(content), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("mode", ["1", "L", "P"])
def test_modes_of_up_to_8_bits_are_shown_as_they_are(mode):
    image = Image.fromarray(RGB).convert(mode)
    np.testing.assert_array_equal(shown(encoded(image)), np.asarray(image.convert("RGB")))


def test_cmyk_becomes_the_colours_that_it_prints():
    ink = np.zeros((SIZE, SIZE, 4), np.uint8)
    ink[..., 0] = 255
    image = Image.frombytes("CMYK", (SIZE, SIZE), ink.tobytes())
    assert shown(encoded(image, "TIFF"))[0, 0].tolist() == [0, 255, 255]


# The corner that is black as stored → where it is seen.
TURNED = {1: (0, 0), 2: (0, -1), 3: (-1, -1), 4: (-1, 0), 5: (0, 0), 6: (0, -1), 7: (-1, -1), 8: (-1, 0)}


@pytest.mark.parametrize(("orientation", "corner"), TURNED.items())
def test_a_photograph_is_turned_as_its_camera_was(orientation, corner):
    pixels = np.full((SIZE, SIZE, 3), 255, np.uint8)
    pixels[0, 0] = 0
    exif = Image.Exif()
    exif[0x0112] = orientation
    seen = shown(encoded(Image.fromarray(pixels), exif=exif))
    assert seen[corner].tolist() == [0, 0, 0]
    assert seen.astype(int).sum() == 255 * 3 * (SIZE * SIZE - 1)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_an_alpha_channel_that_hides_nothing_is_dropped(mode):
    image = Image.fromarray(RGB).convert(mode)
    np.testing.assert_array_equal(shown(encoded(image)), np.asarray(image.convert("RGB")))


def transparent(kind):
    if kind == "palette":
        return encoded(Image.fromarray(RGB).quantize(16), transparency=0)
    if kind == "colour":
        return encoded(Image.fromarray(RGB), transparency=tuple(map(int, RGB[0, 0])))
    image = Image.fromarray(RGB).convert(kind)
    image.putalpha(128)
    return encoded(image)


@pytest.mark.parametrize("kind", ["RGBA", "LA", "palette", "colour"])
def test_transparency_is_refused_unless_the_workload_says_what_lies_behind(kind):
    content = transparent(kind)
    assert refusal(content) == (
        "is transparent in places, and nothing says what lies behind; set data.background, for example "
        "[255, 255, 255], or save it without transparency"
    )
    assert shown(content, background=(255, 255, 255)).shape == (SIZE, SIZE, 3)


def test_a_transparent_picture_lies_on_its_background():
    image = Image.new("RGBA", (SIZE, SIZE), (200, 0, 0, 255))
    image.putpixel((0, 0), (200, 0, 0, 0))
    seen = shown(encoded(image), background=(1, 2, 3))
    assert (seen[0, 0].tolist(), seen[0, 1].tolist()) == ([1, 2, 3], [200, 0, 0])


def test_greys_of_16_bits_are_refused_with_the_key_that_says_what_is_white():
    assert refusal(grey16(np.full((SIZE, SIZE), 6_000))) == (
        "holds greys of more than 8 bits, up to 6,000; set data.full_scale to the value that is white in all pictures, "
        "such as 65535, or save it with 8 bits"
    )


@pytest.mark.parametrize("full_scale", [6_000, 65_535])
def test_greys_of_16_bits_are_scaled_by_the_value_that_is_white(full_scale):
    values = np.linspace(0, 6_000, SIZE * SIZE).round().astype(np.uint16).reshape(SIZE, SIZE)
    seen = shown(grey16(values), full_scale=full_scale)
    np.testing.assert_array_equal(seen[..., 0], np.floor(values * 255.0 / full_scale + 0.5))
    assert (seen[..., 0] == seen[..., 2]).all()


def test_a_grey_brighter_than_white_is_refused():
    told = refusal(grey16(np.full((SIZE, SIZE), 6_001)), full_scale=6_000)
    assert told == "holds values up to 6,001, above data.full_scale: 6,000; raise that"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_colours_of_16_bits_are_refused_since_pillow_keeps_the_upper_half_only():
    content = png(SIZE, SIZE, 16, 2, (b"\0" + b"\x17\x70" * 3 * SIZE) * SIZE)
    for wanted in ({}, {"full_scale": 6_000}):
        assert refusal(content, **wanted) == "holds colours of more than 8 bits; save it with 8 bits per channel"
    deep = b"P6\n# by hand\n8 8\n65535\n" + b"\x17\x70" * 3 * SIZE * SIZE
    assert refusal(deep) == "holds colours of more than 8 bits; save it with 8 bits per channel"


@pytest.mark.parametrize(
    ("values", "kind"),
    [(np.zeros((SIZE, SIZE), np.float32), "floating point"), (np.zeros((SIZE, SIZE), np.int32), "integers of 32 bits")],
)
def test_values_that_have_no_white_are_refused(values, kind):
    told = refusal(encoded(Image.fromarray(values), "TIFF"), full_scale=6_000)
    assert told == f"holds {kind}, of which none says what is white; save it with 8 bits per channel"


@pytest.mark.parametrize("form", ["GIF", "TIFF", "PNG", "WEBP"])
def test_a_file_of_several_pictures_is_refused(form):
    frames = [Image.fromarray(RGB[:, :, ::step]) for step in (1, -1)]
    content = encoded(frames[0], form, save_all=True, append_images=frames[1:])
    assert refusal(content) == "holds 2 pictures; save the one that is meant in a file of its own"


def test_a_picture_that_would_fill_the_memory_is_refused_by_its_header():
    for side in (12_000, 60_000):
        assert refusal(png(side, side, 8, 2)) == (
            f"claims more than {Image.MAX_IMAGE_PIXELS:,} pixels, which would fill the memory; make it smaller, or "
            "remove the file"
        )


def taller(content, at, rows):
    """The file with another height in its header, which its data does not have."""
    return content[:at] + struct.pack("<H", rows) + content[at + 2 :]


def test_a_picture_of_which_the_file_holds_a_part_is_refused_and_not_made_black():
    tiff, gif = encoded(Image.fromarray(RGB), "TIFF"), encoded(Image.fromarray(RGB), "GIF")
    height = tiff.index(struct.pack("<HH", 257, 4)) + 8
    assert shown(tiff).tolist() == RGB.tolist()
    for content in (taller(tiff, height, 40), taller(gif, 8, 40)):
        assert refusal(content) == "holds 64 of the 8 × 40 pixels that it claims; repair or remove the file"


def test_few_bytes_that_claim_many_pixels_take_no_memory(monkeypatch):
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda _: pytest.fail("was decoded"))
    tiff = encoded(Image.fromarray(RGB), "TIFF")
    height = tiff.index(struct.pack("<HH", 257, 4)) + 8
    assert refusal(taller(tiff, height, 60_000)).startswith("holds 64 of the 8 × 60,000 pixels")


def test_colours_that_are_stored_one_after_the_other_are_whole_only_together():
    # As much as Pillow writes none: eight rows of one colour for each of the three.
    head = struct.pack("<2sHIH", b"II", 42, 8, 10)
    counts = struct.pack("<3H", 8, 8, 8)
    data_at = 8 + 2 + 10 * 12 + 4

    def planar(strips):
        at = data_at + len(counts) + 2 * 4 * 3
        offsets = struct.pack("<3I", *(at + 64 * i for i in range(3)))
        sizes = struct.pack("<3I", 64, 64, 64)
        tags = [
            (256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 3, data_at), (259, 3, 1, 1), (262, 3, 1, 2),
            (273, 4, strips, data_at + 6 if strips > 1 else at), (277, 3, 1, 3), (278, 4, 1, 8),
            (279, 4, strips, data_at + 18 if strips > 1 else 64), (284, 3, 1, 2),
        ]  # fmt: skip
        entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
        return head + entries + bytes(4) + counts + offsets + sizes + RGB.transpose(2, 0, 1).tobytes()

    assert shown(planar(3)).tolist() == RGB.tolist()
    assert refusal(planar(1)) == "holds 21 of the 8 × 8 pixels that it claims; repair or remove the file"


@pytest.mark.parametrize("content", [b"", b"Dear diary", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n"])
def test_what_is_no_picture_is_refused_with_the_forms_that_are(content):
    assert refusal(content) == (
        "not a readable image (its content is none of BMP, GIF, JPEG, PNG, PPM, TIFF, WEBP); repair or remove the file"
    )


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"full_scale": 254}, "full_scale: Input should be greater than or equal to 255"),
        ({"full_scale": 65_536}, "full_scale: Input should be less than or equal to 65535"),
        ({"background": [0, 0, 256]}, "background.2: Input should be less than or equal to 255"),
    ],
)
def test_settings_out_of_range_are_refused(params, told):
    with pytest.raises(ConfigError, match=told):
        DATA.create("image_folder", "here", {"root": "x", **params})


def test_pillow_is_strict_whatever_code_of_a_user_made_of_it(monkeypatch):
    whole = encoded(Image.fromarray(RGB).resize((256, 256)), "JPEG")
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert "not a readable image (" in refusal(whole[: len(whole) // 3])
    assert "claims more than 89,478,485 pixels" in refusal(encoded(Image.new("1", (15_000, 12_000))))
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)


@pytest.mark.parametrize("bits", [8, 16])
def test_signed_integers_are_refused_instead_of_taken_for_unsigned_ones(bits):
    values = np.arange(-32, 32, dtype=f"int{bits}").reshape(8, 8).view(f"uint{bits}")
    told = refusal(encoded(Image.fromarray(values), "TIFF", tiffinfo={339: 2}), full_scale=6_000)
    assert told == "holds signed integers, of which none says what is white; save it with 8 bits per channel"


def waves(width, height, mode="RGB"):
    """A picture that compresses as a photograph does."""
    across, down = np.linspace(0, 9, width), np.linspace(0, 5, height)[:, None]
    noise = np.random.RandomState(1).randint(0, 20, (height, width, 3))
    channels = np.stack([np.sin(across * k + down) * 100 + 128 for k in (1, 2, 3)], axis=-1)
    return Image.fromarray((channels + noise).clip(0, 255).astype(np.uint8)).convert(mode)


JPEGS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "restarted": {"restart_marker_blocks": 3},
    "coarse": {"quality": 10, "subsampling": 2},
}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize(("size", "mode"), [((64, 48), "RGB"), ((33, 17), "RGB"), ((50, 70), "L"), ((40, 40), "CMYK")])
def test_whole_jpegs_are_shown(name, size, mode):
    content = encoded(waves(*size, mode), "JPEG", **JPEGS[name])
    expected = Image.open(io.BytesIO(content)).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(shown(content), np.asarray(expected))


MISSING = "a part of the picture is missing or damaged; repair or remove the file"


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_jpeg_that_ends_early_is_refused_although_it_ends(name, share):
    content = encoded(waves(96, 64), "JPEG", **JPEGS[name])
    begin = content.index(b"\xff\xda") + 14
    cut = content[: begin + int(share * (len(content) - begin))].rstrip(b"\xff") + b"\xff\xd9"
    # Pillow says so itself where what is left makes no sense.
    told = refusal(cut)
    assert told == MISSING or told.startswith("not a readable image (broken data stream")


def test_a_jpeg_of_which_the_middle_is_gone_is_refused():
    content = encoded(waves(96, 64), "JPEG")
    middle = len(content) // 2
    assert refusal(content[:middle] + content[middle + 200 :]) == MISSING


def test_a_jpeg_is_shown_with_what_follows_its_end():
    content = encoded(waves(40, 40), "JPEG")
    np.testing.assert_array_equal(shown(content + b"\xff\xd8 a second picture"), shown(content))
