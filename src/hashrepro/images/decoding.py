"""From an encoded file's bytes to pixels, and the deterministic view that evaluation sees.

The references open a file with Pillow and convert it to RGB. So do we, and what comes of files out of the ordinary is:

    grey, 1 bit, palette, YCbCr     the colours that they stand for
    alpha, transparency             dropped: the colour below it shows, also where it is fully transparent
    CMYK                            Pillow's conversion, which knows no colour profile
    more than 8 bits                16-bit grey is divided by 256. The references' conversion clips at 255, which leaves
                                    a white picture; none of the papers' sets has such files
    several frames                  the first
    a direction in EXIF             the pixels as they are stored; with `upright` turned as it says. Pillow turns a TIFF
                                    in any case
    the end is missing              accepted. The rest is grey (JPEG), black (PNG) or the first colour (GIF)
    damaged metadata                ignored, without a warning
    more than 179 million pixels    refused (Pillow's limit): a small file may claim any size
    anything else                   refused: missing, empty, not an image, cut off within its header
"""

import contextlib
import io
import math
import re
import warnings

import numpy as np
from PIL import ExifTags, Image, ImageFile, ImageOps, UnidentifiedImageError

# SEMICON's and SCHN's loaders accept a JPEG whose end is missing; so do we, or the image counts would differ.
ImageFile.LOAD_TRUNCATED_IMAGES = True

_MOST_PIXELS = 2**26  # of an image that is resized as a whole; in memory it takes 7 bytes a pixel


@contextlib.contextmanager
def _quiet():
    """What Pillow has to say about a file's metadata concerns no pixel, and would be said at every look at it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def decode(data: bytes, *, upright: bool = False, crop_bottom: int = 0) -> Image.Image:
    """The RGB image of an encoded file's bytes; see above for what is accepted.

    Args:
        upright: turn the image as its EXIF data say.
        crop_bottom: pixels to remove from the bottom of the (turned) image.

    Raises:
        Exception: whatever Pillow's plugins stumble over in a damaged file.
        ValueError: nothing is left above `crop_bottom`.
    """
    with _quiet():
        image = Image.open(io.BytesIO(data))
        image.load()
        if upright:
            with contextlib.suppress(Exception):  # damaged EXIF data do not say how
                ImageOps.exif_transpose(image, in_place=True)
        if image.mode.startswith("I"):
            grey = np.asarray(image) >> 8
            image = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
        if image.mode != "RGB":  # convert would copy an RGB image
            image = image.convert("RGB")
    if crop_bottom:
        image = image.crop((0, 0, image.width, _rest(image.height, crop_bottom)))
    return image


def _rest(height: int, crop_bottom: int) -> int:
    if height <= crop_bottom:
        raise ValueError(f"it is {height} pixels high, of which {crop_bottom} are to be removed")
    return height - crop_bottom


def stated_size(path: str, *, upright: bool = False, crop_bottom: int = 0) -> tuple[int, int]:
    """(height, width) of what `decode` makes of a file, by what its header says.

    Raises:
        Exception: as `decode`.
    """
    with _quiet(), Image.open(path) as image:
        width, height = image.size
        if upright and image.format != "TIFF":  # of which Pillow states the size after turning
            with contextlib.suppress(Exception):
                if image.getexif().get(ExifTags.Base.Orientation) in (5, 6, 7, 8):
                    width, height = height, width
    return _rest(height, crop_bottom), width


def resized_size(height: int, width: int, resize: int) -> tuple[int, int]:
    """(height, width) after the shorter side was resized to `resize` pixels; the longer one is rounded down."""
    if width <= height:
        return int(resize * height / width), resize
    return resize, int(resize * width / height)


def kept_size(height: int, width: int, resize: int) -> tuple[int, int]:
    """`resized_size` of an image that is to be kept resized.

    Raises:
        ValueError: it would be too large, as that of an image of 1 × 5000 pixels at 256.
    """
    size = height, width = resized_size(height, width, resize)
    if math.prod(size) > _MOST_PIXELS:
        raise ValueError(f"resized, it would have {height} × {width} pixels, too many for a training cache")
    return size


def central_window(height: int, width: int, crop: int) -> tuple[int, int, int, int]:
    """(top, left, height, width) of the central `crop` × `crop` pixels; half a pixel goes to the even side."""
    return round((height - crop) / 2), round((width - crop) / 2), crop, crop


def evaluation_view(image: Image.Image, resize: int, crop: int) -> tuple[np.ndarray, np.ndarray | None]:
    """(its central `crop` × `crop` pixels, the resized image), uint8 (height, width, 3), of an RGB image.

    The shorter side is resized to `resize` pixels, bilinear with antialiasing. Of an image that is very long and thin
    only the central part is resized, to the same bytes, and None stands for the rest.
    """
    height, width = resized_size(image.height, image.width, resize)
    window = top, left, _, _ = central_window(height, width, crop)
    if height * width > _MOST_PIXELS:
        from hashrepro.images.resampling import resample, rgb  # loads a compiler, which is hardly ever needed

        box = (0, 0, image.height, image.width)
        return rgb(resample(np.asarray(image), box, height, width, window=window)), None
    resized = np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return resized[top : top + crop, left : left + crop], resized


def reason(error: Exception) -> str:
    """Why a file cannot be decoded: one line, the same every time."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image, or of a kind that Pillow does not know"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = f"{error}" if type(error) is ValueError else f"{type(error).__name__}: {error}"
    return " ".join(re.sub(r" at 0x[0-9a-f]+", "", text).split())
