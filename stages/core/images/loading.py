"""Reads images of any usual kind as RGB, and normalises them for a network."""

import contextlib
import io
import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image

from stages.core.artifacts.images import ImageRecord
from stages.core.images.scratch import read_copied

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # what pretrained weights of torchvision and timm expect
IMAGENET_STD = np.array([0.229, 0.224, 0.225], np.float32)
# How a stored image becomes upright, by its EXIF orientation (EXIF 2.32, tag 274).
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
SIDEWAYS = (5, 6, 7, 8)  # orientations that swap height and width
DEPTHS = (8, 10, 12, 14, 16)  # bits of cameras and scanners that are kept in 16
PNG = b"\x89PNG\r\n\x1a\n"
# Pillow's decoders raise all of these on damaged files.
DAMAGED = (
    OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, ArithmeticError, struct.error, zlib.error,
)  # fmt: skip
# And this where an EXIF block ends early: a warning, without a name of the image.
BROKEN_EXIF = (*DAMAGED, UserWarning)
warnings.filterwarnings("error", "Corrupt EXIF data")
log = logging.getLogger(__name__)


def load_rgb(image: ImageRecord, root: str | Path) -> np.ndarray:
    """The image as (height, width, 3) uint8 RGB.

    EXIF orientation is applied, where the EXIF block can be read; of an animation the first frame is taken.
    Transparency is laid on white, CMYK is converted (Adobe's inverted JPEGs too). Of 16 bits per channel the fewest of
    `DEPTHS` that hold the brightest value become 8, so that 12 bits in a file of 16 keep their contrast.

    Raises FileNotFoundError where the file is gone, ValueError where it has changed since it was listed or cannot be
    decoded; both name the file.
    """
    allow_pixels(int(image.height) * int(image.width))  # listing has refused what is too large
    if not image.path:
        return _decoded(image.encoded.tobytes(), f"image {image.image!r}")[0]
    path = Path(root) / image.path
    data = read_copied(image.digest, lambda: read_bytes(path))
    if len(data) != image.file_size:
        raise ValueError(
            f"{path} has {len(data)} bytes, but had {image.file_size} when the images were listed: it was changed "
            "or cut off; restore it, or list again with `snakemake --forcerun list_images`"
        )
    return _decoded(data, str(path))[0]


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
    """An encoded image as (height, width, 3) uint8 RGB; `name` is used in errors. See `load_rgb`.

    What is odd about the image but does not keep it from being used is logged, which `load_rgb` does not repeat.
    """
    rgb, remarks = _decoded(data, name)
    for remark in remarks:
        log.warning("%s %s", name, remark)
    return rgb


def image_size(data: bytes, name: str) -> tuple[int, int]:
    """Height and width after EXIF orientation, from the header alone: the pixels are not decoded."""
    image, remarks = _opened(data, name)
    width, height = image.size
    sideways = _orientation(image, remarks) in SIDEWAYS
    for remark in remarks:
        log.warning("%s %s", name, remark)
    return (width, height) if sideways else (height, width)


def normalise(rgb: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3) to float32 (3, H, W) with ImageNet's mean and standard deviation."""
    scaled = (rgb.astype(np.float32) / 255 - IMAGENET_MEAN) / IMAGENET_STD
    return np.ascontiguousarray(scaled.transpose(2, 0, 1))


def _decoded(data: bytes, name: str) -> tuple[np.ndarray, list[str]]:
    """The image as RGB, and what is odd about it."""
    image, remarks = _opened(data, name)
    deep = image.mode in ("RGB", "RGBA") and ";16" in str(
        getattr(image, "tile", "")
    )  # Pillow keeps the upper 8 bits of these alone
    try:
        image.load()
    except DAMAGED as error:
        raise _unreadable(name, error) from error
    orientation = _orientation(image, remarks)
    if deep:
        image = _of_deep_colours(data, image, remarks)
    upright = image.transpose(TURNS[orientation]) if orientation in TURNS else image
    return np.array(_to_rgb(upright, name)), remarks


def _orientation(image: Image.Image, remarks: list[str]) -> int | None:
    """The EXIF orientation that is still to be applied; None where the block cannot be read, which is remarked."""
    if image.format == "TIFF":
        return None  # Pillow's reader of TIFF applies it, to the size in the header too
    try:
        found = image.getexif().get(ExifTags.Base.Orientation)
    except BROKEN_EXIF as error:
        remarks.append(f"has a broken EXIF block ({error}); the image is used as it lies")
        return None
    return found if isinstance(found, int) else None


def _opened(data: bytes, name: str) -> tuple[Image.Image, list[str]]:
    """The image, header read, and what is odd about it. Refuses what Pillow takes for a decompression bomb."""
    remarks: list[str] = []
    kept = _without_broken_exif(data)
    if len(kept) < len(data):
        remarks.append("has a broken EXIF block (wrong checksum); the image is used as it lies")
    try:
        image = Image.open(io.BytesIO(kept))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(name, str(error)) from error
    except (*DAMAGED, UserWarning) as error:
        raise _unreadable(name, error) from error
    # Between one and two times its limit Pillow only warns, which nobody would act upon.
    width, height = image.size
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise _too_large(name, f"{height}x{width} pixels")
    return image, remarks


def _without_broken_exif(data: bytes) -> bytes:
    """A PNG without EXIF chunks whose checksum is wrong, for which Pillow refuses the whole image; else `data`."""
    start = data.find(b"eXIf") if data.startswith(PNG) else -1
    if start < 0:
        return data
    (length,) = struct.unpack(">I", data[start - 4 : start])
    end = start + 4 + length
    if data[end : end + 4] == struct.pack(">I", zlib.crc32(data[start:end])) or end + 4 > len(data):
        return data
    return data[: start - 4] + data[end + 4 :]


def _too_large(name: str, found: str) -> ValueError:
    limit = Image.MAX_IMAGE_PIXELS
    return ValueError(
        f"{name} is larger than the {limit} pixels that are decoded ({found}): a damaged header, a decompression bomb, "
        "or a large image: raise images.max_pixels for it, or scale down first"
    )


def _unreadable(name: str, error: Exception) -> ValueError:
    return ValueError(f"{name} cannot be decoded ({error}): it is cut off, damaged, or no image; replace or remove it")


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    if image.mode.startswith("I"):
        return Image.fromarray(_eight_bits(_sixteen_bits(np.asarray(image), name))).convert("RGB")
    if image.mode == "F":
        raise ValueError(f"{name} has 32 bits per pixel (mode F, fractions); convert it to 8 or 16 bits per channel")
    if image.has_transparency_data:
        return _on_white(image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")


def _sixteen_bits(grey: np.ndarray, name: str) -> np.ndarray:
    """Grey values, checked to fit 16 bits."""
    low, high = int(grey.min()), int(grey.max())
    if low < 0 or high > 65535:
        raise ValueError(f"{name} has grey values from {low} to {high}, more than 16 bits; convert it to 8 or 16 bits")
    return grey


def _eight_bits(values: np.ndarray) -> np.ndarray:
    """Values of 16 bits as uint8: black stays black, and the white of the smallest depth that holds all is white."""
    depth = next(depth for depth in DEPTHS if int(values.max()) < 2**depth)
    white = 2**depth - 1
    return ((values.astype(np.uint32) * 255 + white // 2) // white).astype(np.uint8)


def _of_deep_colours(data: bytes, image: Image.Image, remarks: list[str]) -> Image.Image:
    """An image of 16 bits per channel by OpenCV, (H, W, 3 or 4) in BGR; Pillow's own where OpenCV cannot read it."""
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.ndim != 3 or deep.shape[:2] != (image.height, image.width):
        remarks.append("has 16 bits per channel in a form of which only the upper 8 are read")
        return image
    colours = _eight_bits(deep[..., 2::-1])
    if deep.shape[2] == 3:
        return Image.fromarray(colours)
    return Image.fromarray(np.dstack([colours, deep[..., 3] // 257]).astype(np.uint8))


def _on_white(rgba: Image.Image) -> Image.Image:
    white = Image.new("RGBA", rgba.size, "white")
    return Image.alpha_composite(white, rgba).convert("RGB")
