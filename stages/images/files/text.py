"""The one reader of text files: marks of byte order, encodings, and ends of lines."""

import codecs
import logging
from pathlib import Path

log = logging.getLogger(__name__)
# UTF-32 first: its little-endian mark begins with that of UTF-16.
MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
ARCHIVE = b"PK\3\4"  # how ZIP files begin, and with them .xlsx
FALLBACK = "cp1252"  # what spreadsheets and editors of Western Windows write


def read_text(path: Path, missing: str) -> str:
    """A text file's content, without a byte order mark, with line ends as they are.

    UTF-8, or UTF-16 and UTF-32 with a mark. Bytes that are not UTF-8 are read as cp1252, and a warning names the file.

    Raises FileNotFoundError, which ends with `missing` (what to do), or ValueError for a folder, a file that cannot be
    opened, and bytes that are no text.
    """
    return decode(read_bytes(path, missing), str(path))


def read_bytes(path: Path, missing: str) -> bytes:
    """A file's content. Raises FileNotFoundError, which ends with `missing`, or ValueError where it cannot be read."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; {missing}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); expected a text file") from error


def decode(data: bytes, name: str) -> str:
    """Bytes as text; `name` is used in messages. See `read_text`."""
    encoding = marked_encoding(data)
    if encoding is not None:
        return decode_as(data, encoding, name)
    if data.startswith(ARCHIVE):
        raise ValueError(
            f"{name} is an archive or a spreadsheet, no text; unpack it, or save the sheet as CSV in UTF-8"
        )
    if b"\0" in data:
        raise ValueError(f"{name} is no text: it holds zero bytes; save it as UTF-8 text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return _fallback(data, name, line)


def marked_encoding(data: bytes) -> str | None:
    """The encoding that a byte order mark at the start names, None where there is no mark."""
    return next((encoding for mark, encoding in MARKS.items() if data.startswith(mark)), None)


def decode_as(data: bytes, encoding: str, name: str) -> str:
    """Bytes in a known encoding as text. Raises ValueError where they do not fit it."""
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} is said to be {encoding.removesuffix('-sig')}, but is not ({error.reason} at byte {error.start}); "
            "save it as UTF-8"
        ) from error
    if "\0" in text:
        raise ValueError(f"{name} is no text: it holds zero characters; save it as UTF-8 text")
    return text


def lines_of(text: str) -> list[str]:
    """Lines that end with LF, CR LF or CR, and with nothing else: other separators may be parts of names."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _fallback(data: bytes, name: str, line: int) -> str:
    if b"\r" in data and b"\n" not in data:
        raise ValueError(
            f"{name} is not UTF-8 and its lines end as on old Macs, so that it may be in any of several encodings; "
            "save it as UTF-8"
        )
    try:
        text = data.decode(FALLBACK)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{name} line {line} is neither UTF-8 nor {FALLBACK} (byte {error.start}: {error.reason}); save it as UTF-8"
        ) from error
    if any(ord(character) < 32 and character not in "\t\n\r\f\v\x1a" for character in text):
        raise ValueError(f"{name} is no text: it holds control characters; save it as UTF-8 text")
    log.warning("%s is not UTF-8 (line %d) and was read as %s; save it as UTF-8", name, line, FALLBACK)
    return text
