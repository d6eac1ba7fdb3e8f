"""Images of every usual kind become sane RGB, and bad ones stop with the file's name."""

import io
import re
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from stages.core.artifacts.images import ImageRecord
from stages.core.images.loading import decode_rgb, image_size, load_rgb, normalise
from stages.ops.resize import flip, opencv_bilinear, opencv_nearest, resize, resize_as, scaled_size

GREY = np.array([[0, 100, 255]], np.uint8)
ORIENTATION = 274  # EXIF tag


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def image(path: str, data: bytes, **changes: object) -> ImageRecord:
    fields = {
        "image": "a", "path": path, "encoded": np.zeros(0, np.uint8), "height": 1, "width": 3,
        "file_size": len(data), "digest": "", "tags": np.zeros(1, bool), "looked_at": False,
    }  # fmt: skip
    return ImageRecord(**fields | changes)


def palette(transparent: bool) -> bytes:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    return encoded(image, transparency=2) if transparent else encoded(image)


def png16(pixels: np.ndarray) -> bytes:
    """A 16-bit PNG, which OpenCV writes (BGR) and Pillow cannot."""
    return cv2.imencode(".png", pixels[..., ::-1] if pixels.ndim == 3 else pixels)[1].tobytes()


GREY16 = np.array([[0, 25700, 65535]], np.uint16)
RGBA = np.array([[[10, 20, 30, 255], [10, 20, 30, 0], [0, 0, 0, 128]]], np.uint8)
CASES = {
    "grey": (encoded(Image.fromarray(GREY)), [[0] * 3, [100] * 3, [255] * 3]),
    "one bit": (encoded(Image.fromarray(GREY > 50)), [[0] * 3, [255] * 3, [255] * 3]),
    "palette": (palette(False), [[255, 0, 0], [0, 255, 0], [0, 0, 255]]),
    "palette with a transparent colour": (palette(True), [[255, 0, 0], [0, 255, 0], [255, 255, 255]]),
    "alpha on white": (encoded(Image.fromarray(RGBA)), [[10, 20, 30], [255] * 3, [127] * 3]),
    "grey and alpha on white": (
        encoded(Image.fromarray(np.array([[[7, 255], [7, 0], [0, 128]]], np.uint8))), [[7] * 3, [255] * 3, [127] * 3],
    ),
    "grey of 16 bits is scaled, not cut": (png16(GREY16), [[0] * 3, [100] * 3, [255] * 3]),
    "colour of 16 bits is scaled, not cut": (png16(np.stack([GREY16] * 3, -1)), [[0] * 3, [100] * 3, [255] * 3]),
    "webp": (encoded(Image.new("RGB", (3, 1), (9, 9, 9)), "WEBP", lossless=True), [[9] * 3] * 3),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_kind_of_image_becomes_rgb(case: str) -> None:
    data, expected = CASES[case]
    rgb = decode_rgb(data, case)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (1, 3, 3)
    np.testing.assert_allclose(rgb[0].astype(int), expected, atol=1)
    assert image_size(data, case) == (1, 3)


def test_cmyk_of_adobe_is_not_inverted() -> None:
    # Pillow writes CMYK JPEGs the way Adobe does, inverted, with Adobe's marker.
    data = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)
    assert b"Adobe" in data
    np.testing.assert_allclose(decode_rgb(data, "red").reshape(-1, 3).mean(0), [255, 0, 0], atol=3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("sixteen_bits", [False, True])
def test_exif_orientation_is_applied(orientation: int, sixteen_bits: bool) -> None:
    upright = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
    # EXIF 2.32, tag 274: how the stored rows and columns lie in the upright image.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.T,
        6: np.rot90(upright),
        7: upright[::-1, ::-1].T,
        8: np.rot90(upright, -1),
    }[orientation]
    pixels = stored.astype(np.uint16) * 257 if sixteen_bits else stored
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    data = encoded(Image.fromarray(np.ascontiguousarray(pixels)), exif=exif)
    np.testing.assert_array_equal(decode_rgb(data, "turned")[..., 0], upright)
    assert image_size(data, "turned") == (2, 3)


PNG = encoded(Image.fromarray(np.random.default_rng(0).integers(0, 255, (32, 32, 3)).astype(np.uint8)))
JPEG = encoded(Image.open(io.BytesIO(PNG)), "JPEG")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>not found</html>", id="a web page"),
        pytest.param(PNG[: len(PNG) // 2], id="truncated PNG"),
        pytest.param(JPEG[: len(JPEG) // 2], id="truncated JPEG"),
        pytest.param(PNG[:60] + b"\0" * 40 + PNG[100:], id="damaged PNG"),
    ],
)
def test_a_damaged_image_is_named(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"b\.png cannot be decoded.*replace or remove"):
        decode_rgb(data, "b.png")


@given(st.binary(max_size=200), st.integers(0, len(PNG)))
def test_damage_gives_a_value_error_and_nothing_else(noise: bytes, at: int) -> None:
    data = PNG[:at] + noise + PNG[at + len(noise) :]
    try:
        rgb = decode_rgb(data, "noisy")
    except ValueError as error:
        assert "noisy" in str(error)
    else:
        assert rgb.ndim == 3


def test_a_decompression_bomb_is_refused() -> None:
    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    for side in (10_000, 60_000):  # Pillow warns of the first and refuses the second
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
        data = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
        with pytest.raises(ValueError, match=r"bomb\.png is larger than .* scale down"):
            image_size(data, "bomb.png")


def test_32_bits_a_pixel_are_refused_rather_than_guessed() -> None:
    data = encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF")
    with pytest.raises(ValueError, match=r"32 bits per pixel.*convert"):
        decode_rgb(data, "depth.tif")


def test_load_rgb_reads_files_and_embedded_images(tmp_path: Path) -> None:
    data = CASES["grey"][0]
    (tmp_path / "a.png").write_bytes(data)
    from_file = load_rgb(image("a.png", data), tmp_path)
    embedded = load_rgb(image("", data, encoded=np.frombuffer(data, np.uint8)), "")
    np.testing.assert_array_equal(from_file, embedded)


def test_a_missing_or_changed_image_is_named_with_the_remedy(tmp_path: Path) -> None:
    data = CASES["grey"][0]
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path / 'a.png'} does not exist; restore")):
        load_rgb(image("a.png", data), tmp_path)
    (tmp_path / "a.png").write_bytes(data + b"\0")
    with pytest.raises(ValueError, match=f"has {len(data) + 1} bytes, but had {len(data)}.*list again"):
        load_rgb(image("a.png", data), tmp_path)


@pytest.mark.parametrize(
    ("size", "longer", "expected"),
    [
        ((375, 500), 250, (188, 250)),
        ((500, 375), 1000, (1000, 750)),
        ((1, 1000), 100, (1, 100)),
        ((7, 7), 7, (7, 7)),
    ],
)
def test_scaled_size(size: tuple[int, int], longer: int, expected: tuple[int, int]) -> None:
    assert scaled_size(*size, longer) == expected


def test_shrinking_averages_and_the_official_form_truncates() -> None:
    rgb = np.zeros((2, 2, 3), np.uint8)
    rgb[0, 0] = 255
    assert resize(rgb, 1, 1)[0, 0, 0] == 64  # 63.75 rounded
    assert opencv_bilinear(rgb, 1, 1)[0, 0, 0] == 63  # truncated to uint8
    assert resize(rgb, 2, 2) is rgb
    assert resize(rgb, 5, 4).shape == (5, 4, 3)


def test_the_factor_of_the_official_form_places_the_pixel_centers() -> None:
    rgb = np.zeros((2, 3, 3), np.uint8)
    rgb[1] = 255
    assert opencv_bilinear(rgb, 5, 8, factor=8 / 3)[:, 0, 0].tolist() == [0, 15, 111, 207, 255]
    assert opencv_bilinear(rgb, 5, 8)[:, 0, 0].tolist() == [0, 25, 127, 229, 255]
    with pytest.raises(ValueError, match=r"is \(5, 8\), not \(6, 8\)"):
        opencv_bilinear(rgb, 6, 8, factor=8 / 3)
    assert opencv_bilinear(np.zeros((3, 4000, 3), np.uint8), 1, 480, factor=480 / 4000).shape == (1, 480, 3)


def test_nearest_pixels_of_the_official_form_lie_at_corners() -> None:
    for dtype in (np.uint8, np.int32):
        row = np.array([[0, 1, 2]], dtype)
        assert opencv_nearest(row, 1, 4).tolist() == [[0, 0, 1, 2]]
        assert opencv_nearest(row, 1, 4).dtype == dtype


def test_pillow_averages_where_it_shrinks_one_side_alone() -> None:
    row = np.repeat(np.array([[0, 0, 0, 240]], np.uint8)[:, :, None], 3, axis=2)
    assert resize_as(row, 2, 1, interpolation="pillow")[:, 0, 0].tolist() == [50, 50]  # weights .625, .875, .875, .625
    assert resize_as(row, 2, 1, interpolation="area")[:, 0, 0].tolist() == [0, 0]  # one side grows: two neighbours


def test_flip_and_normalise() -> None:
    rgb = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
    np.testing.assert_array_equal(flip(flip(rgb)), rgb)
    np.testing.assert_array_equal(flip(rgb)[:, 0], rgb[:, 1])
    scaled = normalise(np.full((1, 1, 3), 255, np.uint8))
    np.testing.assert_allclose(scaled[:, 0, 0], [(1 - 0.485) / 0.229, (1 - 0.456) / 0.224, (1 - 0.406) / 0.225], 1e-6)
    assert scaled.dtype == np.float32
