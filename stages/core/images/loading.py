"""Reads images of any usual kind as RGB, and normalises them for a network."""

import contextlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

from stages.core.artifacts.images import ImageRecord

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # what pretrained weights of torchvision and timm expect
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
SIDEWAYS = (5, 6, 7, 8)  # EXIF orientations that swap height and width (EXIF 2.32, tag 274)
# Pillow's decoders raise all of these on damaged files.
DAMAGED = (OSError, SyntaxError, ValueError, EOFError, IndexError, struct.error, zlib.error)


def load_rgb(image: ImageRecord, root: str | Path) -> np.ndarray:
    """The image as (height, width, 3) uint8 RGB.

    EXIF orientation is applied; of an animation the first frame is taken. Transparency is laid on white, CMYK is
    converted (Adobe's inverted JPEGs too), 16 bits per channel become 8 by scaling the full range.

    Raises FileNotFoundError where the file is gone, ValueError where it has changed since it was listed or cannot be
    decoded; both name the file.
    """
    allow_pixels(int(image.height) * int(image.width))  # listing has refused what is too large
    if not image.path:
        return decode_rgb(image.encoded.tobytes(), f"image {image.image!r}")
    path = Path(root) / image.path
    data = read_bytes(path)
    if len(data) != image.file_size:
        raise ValueError(
            f"{path} has {len(data)} bytes, but had {image.file_size} when the images were listed: it was changed "
            "or cut off; restore it, or list again with `snakemake --forcerun list_images`"
        )
    return decode_rgb(data, str(path))


@contextlib.contextmanager
def pixel_limit(pixels: int) -> Iterator[None]:
    """Refuse images of more pixels, in place of those that Pillow takes for decompression bombs."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = pixels
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before


def allow_pixels(pixels: int) -> None:
    """Decode images of so many pixels from now on, in this process."""
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)


def read_bytes(path: Path) -> bytes:
    """The file's content. Raises FileNotFoundError or ValueError naming the file and the remedy."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; restore it or take it off the list of images") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); mend it or take it off the list") from error


def decode_rgb(data: bytes, name: str) -> np.ndarray:
    """An encoded image as (height, width, 3) uint8 RGB; `name` is used in errors. See `load_rgb`."""
    image = _opened(data, name)
    try:
        image.load()
        upright = ImageOps.exif_transpose(image)
    except DAMAGED as error:
        raise _unreadable(name, error) from error
    return np.array(_to_rgb(upright, name))


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width after EXIF orientation, from the header alone: the pixels are not decoded."""
    image = _opened(data, name)
    width, height = image.size
    try:
        sideways = image.getexif().get(ExifTags.Base.Orientation) in SIDEWAYS
    except DAMAGED as error:
        raise _unreadable(name, error) from error
    return (width, height) if sideways else (height, width)


def normalise(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) to float32 (3, H, W) with ImageNet's mean and standard deviation."""
    scaled = (rgb.astype(np.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _opened(data: bytes, name: str) -> Image.Image:
    """The image, header read. Refuses what Pillow takes for a decompression bomb."""
    try:
        image = Image.open(io.BytesIO(data))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except DAMAGED as error:
        raise _unreadable(name, error) from error
    # Between one and two times its limit Pillow only warns, which nobody would act upon.
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(name, f"{height}x{width} pixels")
    return image


def _too_large(name: str, found: str) -> ValueError:
    limit = Image.MAX_IMAGE_PIXELS
    return ValueError(
        f"{name} is larger than the {limit} pixels that are decoded ({found}): a damaged header, a decompression bomb, "
        "or a large image: raise images.max_pixels for it, or scale down first"
    )


def _unreadable(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} cannot be decoded ({error}): it is cut off, damaged, or no image; replace or remove it")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I;16"):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"{name} has 32 bits per pixel (mode {image.mode}); convert it to 8 or 16 bits per channel")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(grey: np.ndarray) -> np.ndarray:
    # 65535 = 255 * 257: white stays white and black stays black.
    return ((grey.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _on_white(rgba: Image.Image) -> Image.Image:
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
