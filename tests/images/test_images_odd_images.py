"""Broken EXIF blocks, more than 8 bits per channel, and sizes from headers: used where they can be, and said."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from stages.core.images.loading import decode_rgb, image_size, load_rgb
from tests.images.test_images_loading import ORIENTATION, encoded, image, png16

SCENE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def exif(orientation: int = 6) -> Image.Exif:
    block = Image.Exif()
    block[ORIENTATION] = orientation
    return block


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def with_exif(block: bytes) -> bytes:
    """A PNG with a raw EXIF block behind its header."""
    data = encoded(Image.fromarray(SCENE))
    return data[:33] + chunk(b"eXIf", block) + data[33:]


BROKEN = {
    "header": b"\x00\x08\x00\x02\x01\x12\x00\x03",
    "empty": b"",
    "cut off": exif().tobytes()[6:12],
    "noise": bytes(range(200)),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_image_with_a_broken_exif_block_is_used_as_it_lies(case: str, caplog: pytest.LogCaptureFixture) -> None:
    data = with_exif(BROKEN[case])
    np.testing.assert_array_equal(decode_rgb(data, "plate.png"), SCENE)
    assert image_size(data, "plate.png") == (24, 32)
    if case != "empty":
        assert "plate.png has a broken EXIF block" in caplog.text
        caplog.clear()
    assert not caplog.records or case == "empty"


def test_an_exif_block_with_a_wrong_checksum_is_no_damaged_image(caplog: pytest.LogCaptureFixture) -> None:
    data = bytearray(with_exif(exif().tobytes()[6:]))
    data[data.find(b"eXIf") + 6] ^= 255
    np.testing.assert_array_equal(decode_rgb(bytes(data), "plate.png"), SCENE)
    assert image_size(bytes(data), "plate.png") == (24, 32)
    assert "plate.png has a broken EXIF block (wrong checksum)" in caplog.text
    pixels = data.find(b"IDAT") + 20
    data[pixels] ^= 255
    with pytest.raises(ValueError, match=r"plate\.png cannot be decoded"):
        decode_rgb(bytes(data), "plate.png")


def test_a_warning_is_given_where_images_are_listed_and_not_again(tmp_path, caplog: pytest.LogCaptureFixture) -> None:
    data = with_exif(BROKEN["header"])
    (tmp_path / "a.png").write_bytes(data)
    np.testing.assert_array_equal(load_rgb(image("a.png", data), tmp_path), SCENE)
    assert not caplog.records


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "AVIF", "TIFF", "MPO"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_header_gives_the_size_of_the_decoded_image(kind: str, orientation: int) -> None:
    data = encoded(Image.fromarray(SCENE), kind, exif=exif(orientation))
    assert image_size(data, kind) == decode_rgb(data, kind).shape[:2] == ((32, 24) if orientation > 4 else (24, 32))


@pytest.mark.parametrize(
    ("brightest", "white"), [(255, 255), (1000, 1023), (4095, 4095), (3000, 4095), (16000, 16383), (20000, 65535)]
)
def test_fewer_than_16_bits_keep_their_contrast(brightest: int, white: int) -> None:
    grey = np.array([[0, brightest // 2, brightest]], np.uint16)
    expected = np.rint(grey * (255 / white))
    for data in (
        png16(grey),
        encoded(Image.fromarray(grey), "TIFF"),
        encoded(Image.fromarray(grey.astype(np.int32)), "TIFF"),
    ):
        np.testing.assert_allclose(decode_rgb(data, "grey")[..., 0], expected, atol=1)


def test_colours_of_12_bits_in_16_keep_their_contrast() -> None:
    colours = np.array([[[4095, 0, 2048], [0, 4095, 100], [7, 8, 9]]], np.uint16)
    expected = np.rint(colours * (255 / 4095))
    np.testing.assert_allclose(decode_rgb(png16(colours), "colour"), expected, atol=1)
    clear = np.dstack([colours[..., ::-1], np.full((1, 3), 65535, np.uint16)])
    np.testing.assert_allclose(decode_rgb(cv2.imencode(".png", clear)[1].tobytes(), "alpha"), expected, atol=1)
    clear[..., 3] = 0
    assert (decode_rgb(cv2.imencode(".png", clear)[1].tobytes(), "transparent") == 255).all()


def tiff16(pixels: np.ndarray, orientation: int) -> bytes:
    """A TIFF of (H, W, 3) uint16, which Pillow cannot write."""
    height, width, _ = pixels.shape
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, 146), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 152),
        (274, 3, 1, orientation), (277, 3, 1, 3), (278, 4, 1, height), (279, 4, 1, pixels.nbytes), (284, 3, 1, 1),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    head = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + struct.pack("<IHHH", 0, 16, 16, 16)
    assert len(head) == 152
    return head + pixels.astype("<u2").tobytes()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_tiff_of_16_bit_colours_is_turned_once(orientation: int) -> None:
    pixels = np.zeros((6, 9, 3), np.uint16)
    pixels[0], pixels[:, 0], pixels[-1, -1] = [4095, 0, 0], [0, 4095, 0], [0, 0, 4095]
    data = tiff16(pixels, orientation)
    upright = np.asarray(Image.open(io.BytesIO(data)))
    np.testing.assert_array_equal(decode_rgb(data, "deep") > 100, upright > 5)
    assert image_size(data, "deep") == upright.shape[:2]


def test_grey_values_beyond_16_bits_are_named() -> None:
    for value in (70000, -1):
        data = encoded(Image.fromarray(np.array([[0, value]], np.int32)), "TIFF")
        with pytest.raises(ValueError, match=r"wide\.tif has grey values from .* more than 16 bits; convert"):
            decode_rgb(data, "wide.tif")


def test_a_black_image_of_16_bits_is_black() -> None:
    assert not decode_rgb(png16(np.zeros((2, 3), np.uint16)), "black").any()


def test_a_16_bit_greymap_is_read() -> None:
    values = np.array([[0, 1000, 4095]], ">u2")
    rgb = decode_rgb(b"P5 3 1 4095\n" + values.tobytes(), "a.pgm")
    np.testing.assert_allclose(rgb[0, :, 0], [0, 62, 255], atol=1)
