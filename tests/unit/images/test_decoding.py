"""What comes of files out of the ordinary: written here with Pillow or by hand, expected values by hand or by numpy."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, TiffImagePlugin
from torchvision import transforms as reference

from hashrepro.images import decoding
from hashrepro.images.decoding import decode, evaluation_view, kept_size, reason, stated_size

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
# what EXIF's orientations ask for, on an array (h, w, 3)
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a),
}


def noise(height, width, *channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, *channels), dtype=np.uint8)


def photo(height, width):
    coarse = Image.fromarray(noise(height // 8 + 2, width // 8 + 2, 3))
    return coarse.resize((width, height), Image.Resampling.BICUBIC)


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def pixels(data, **options):
    image = decode(data, **options)
    assert image.mode == "RGB"
    return np.asarray(image)


def turned(image, orientation, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    return encoded(image, kind, exif=exif)


def test_of_a_gif_the_first_frame_is_taken():
    frames = [Image.new("RGB", (6, 4), color) for color in (RED, GREEN, BLUE)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert (pixels(data) == RED).all()


@pytest.mark.parametrize("transparency", [0, bytes([0, 128, 255])], ids=["one colour", "a table"])
def test_a_palette_gives_its_colours_whether_transparent_or_not(transparency):
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([*RED, *GREEN, *BLUE])
    data = encoded(palette, transparency=transparency)
    assert pixels(data).tolist() == [[[*RED], [*GREEN], [*BLUE]]]


def test_alpha_is_dropped_and_the_colour_below_it_shows():
    color, grey = noise(5, 7, 4), noise(5, 7, 2)
    assert np.array_equal(pixels(encoded(Image.fromarray(color))), color[:, :, :3])
    assert np.array_equal(pixels(encoded(Image.fromarray(grey))), grey[:, :, [0, 0, 0]])


def test_grey_and_black_and_white():
    grey = noise(5, 7)
    assert np.array_equal(pixels(encoded(Image.fromarray(grey))), grey[:, :, None].repeat(3, 2))
    bits = Image.fromarray(grey > 127)
    assert bits.mode == "1"
    assert np.array_equal(pixels(encoded(bits)), (grey > 127)[:, :, None].repeat(3, 2) * np.uint8(255))


def test_cmyk_is_converted_as_pillow_does():
    data = encoded(photo(40, 56).convert("CMYK"), "JPEG", quality=95)
    with Image.open(io.BytesIO(data)) as image:
        assert image.mode == "CMYK"
        assert np.array_equal(pixels(data), np.asarray(image.convert("RGB")))
    assert abs(pixels(data).astype(int) - np.asarray(photo(40, 56))).mean() < 3


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_of_16_bits_the_upper_8_are_taken(kind, order):
    deep = np.arange(0, 65536, 111, dtype=np.uint16)[:560].reshape(20, 28)
    found = pixels(encoded(Image.fromarray(deep.astype(order)), kind))
    assert np.array_equal(found, (deep // 256).astype(np.uint8)[:, :, None].repeat(3, 2))


def test_of_32_bits_those_of_16_are_taken_and_the_rest_is_clipped():
    deep = np.array([[-5, 0, 255, 256, 65535, 65536, 10**9]], np.int32)
    assert pixels(encoded(Image.fromarray(deep), "TIFF"))[0, :, 0].tolist() == [0, 0, 0, 1, 255, 255, 255]


@pytest.mark.parametrize("orientation", TURNS)
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_an_image_is_turned_as_exif_says_only_if_asked_to(kind, orientation, tmp_path):
    data = turned(photo(16, 24), orientation, kind)
    stored = np.asarray(Image.open(io.BytesIO(data)))
    assert np.array_equal(pixels(data), stored)
    assert np.array_equal(pixels(data, upright=True), TURNS[orientation](stored))
    (tmp_path / "image").write_bytes(data)
    for options in ({}, {"upright": True}, {"upright": True, "crop_bottom": 3}):
        assert stated_size(tmp_path / "image", **options) == pixels(data, **options).shape[:2]


@pytest.mark.parametrize("upright", [False, True])
def test_pillow_turns_a_tiff_in_any_case(upright, tmp_path):
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[ExifTags.Base.Orientation] = 6
    data = encoded(photo(16, 24), "TIFF", tiffinfo=tags)
    assert np.array_equal(pixels(data, upright=upright), TURNS[6](np.asarray(photo(16, 24))))
    (tmp_path / "image").write_bytes(data)
    assert stated_size(tmp_path / "image", upright=upright) == (24, 16)


def test_damaged_exif_data_are_no_matter(tmp_path):
    header, entry = b"Exif\0\0II*\0\x08\0\0\0", struct.pack("<HHII", 0x010F, 2, 500, 9999)
    for exif in (header + b"\x03\0" + entry, header[:10], header + b"\xff" * 40):
        data = encoded(photo(16, 24), "JPEG", exif=exif)
        for upright in (False, True):
            assert np.array_equal(pixels(data, upright=upright), pixels(encoded(photo(16, 24), "JPEG")))
        (tmp_path / "image").write_bytes(data)
        assert stated_size(tmp_path / "image", upright=True) == (16, 24)


def test_damaged_exif_data_turn_an_image_if_they_say_how():
    entries = struct.pack("<HHHIIHHII", 2, 0x0112, 3, 1, 6, 0x0128, 1, 9, 30)  # 9 units of resolution
    data = encoded(photo(16, 24), "JPEG", exif=b"Exif\0\0II*\0\x08\0\0\0" + entries + bytes(40))
    assert np.array_equal(pixels(data, upright=True), TURNS[6](pixels(data)))


def test_the_bottom_is_removed_after_turning():
    data = turned(photo(16, 24), 6, "PNG")
    stored = np.asarray(photo(16, 24))
    assert np.array_equal(pixels(data, crop_bottom=5), stored[:-5])
    assert np.array_equal(pixels(data, crop_bottom=5, upright=True), TURNS[6](stored)[:-5])
    with pytest.raises(ValueError, match="it is 16 pixels high, of which 16 are to be removed"):
        decode(data, crop_bottom=16)


def test_a_jpeg_whose_end_is_missing_is_grey_there():
    data = encoded(photo(90, 133), "JPEG")
    cut, whole = pixels(data[: len(data) * 2 // 3]), pixels(data)
    assert cut.shape == whole.shape
    assert np.array_equal(cut[:16], whole[:16])
    assert (cut[-8:] == 128).all()


def test_a_png_whose_end_is_missing_is_black_there():
    data = encoded(Image.fromarray(noise(90, 133, 3) | 1))
    cut, whole = pixels(data[: len(data) * 2 // 3]), pixels(data)
    assert np.array_equal(cut[:50], whole[:50])
    assert (cut[-20:] == 0).all()


def bomb(side):
    """A PNG that claims side x side pixels."""
    data = encoded(Image.new("RGB", (8, 8)))
    header = struct.pack(">II", side, side) + data[24:29]
    return data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:]


def why(look, *arguments):
    try:
        look(*arguments)
    except Exception as error:
        return reason(error)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<html>404</html>", "not an image, or of a kind that Pillow does not know"),
        (encoded(photo(40, 56), "JPEG")[:60], "OSError: Truncated File Read"),
        (bomb(50_000), "DecompressionBombError: Image size (2500000000 pixels) exceeds limit"),
    ],
    ids=["text", "header cut off", "bomb"],
)
def test_what_is_refused_and_why(data, expected, tmp_path):
    (tmp_path / "image").write_bytes(data)
    assert why(decode, data).startswith(expected)
    assert why(stated_size, tmp_path / "image").startswith(expected)


def test_a_reason_is_one_line_that_is_the_same_every_time():
    assert reason(FileNotFoundError(2, "No such file or directory", "/tmp/a")) == "No such file or directory"
    assert reason(SyntaxError("broken\n chunk of <X object at 0x7fbc59df49f0>")) == (
        "SyntaxError: broken chunk of <X object>"
    )
    assert reason(ValueError("it is too large")) == "it is too large"


SIZES = [(1, 1), (3, 7), (40, 40), (32, 41), (1, 5000), (5000, 1), (300, 41)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("most_pixels", [decoding._MOST_PIXELS, 1000])
def test_the_evaluation_view_equals_torchvisions_also_of_extreme_sizes(size, most_pixels, monkeypatch):
    monkeypatch.setattr(decoding, "_MOST_PIXELS", most_pixels)
    image = Image.fromarray(noise(*size, 3))
    view, resized = evaluation_view(image, 40, 32)
    whole = reference.Resize(40)(image)
    assert np.array_equal(view, np.asarray(reference.CenterCrop(32)(whole)))
    if most_pixels == 1000:
        assert resized is None
    else:
        assert np.array_equal(resized, np.asarray(whole))


def test_an_image_too_long_to_be_kept_resized_is_refused():
    assert kept_size(375, 500, 256) == (256, 341)
    with pytest.raises(ValueError, match="256 × 1280000 pixels"):
        kept_size(1, 5000, 256)
    view, _ = evaluation_view(Image.fromarray(noise(1, 5000, 3)), 256, 224)
    assert view.shape == (224, 224, 3)
