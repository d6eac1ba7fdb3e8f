"""Reads XML in every encoding that Python knows, and refuses document types."""

import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

from stages.images.files.text import decode, decode_as, marked_encoding, read_bytes

DECLARED = re.compile(rb"""\A\s*<\?xml[^>]*?\bencoding\s*=\s*["']([^"']*)["']""")
DECLARATION = re.compile(r"\A\s*<\?xml.*?\?>", re.DOTALL)
UNMARKED_UTF16 = {b"<\0": "utf-16-le", b"\0<": "utf-16-be"}
# Files that declare a Chinese, Japanese or Korean encoding often use its superset, as browsers assume too.
# Source: WHATWG Encoding Standard, section 4.2.
SUPERSETS = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
WIDE = ("utf_16", "utf16", "utf_32", "utf32", "ucs", "iso_10646")


def read_xml(path: Path, missing: str) -> ElementTree.Element:
    """The root element of an XML file.

    Without mark and declaration a file is read as other text is (`read_text`). Raises FileNotFoundError, which ends
    with `missing`, or ValueError: an encoding that nobody knows or that the bytes do not fit, a document type, broken
    XML.
    """
    text = _text(read_bytes(path, missing), path)
    body = DECLARATION.sub(lambda found: "\n" * found.group().count("\n"), text, count=1)
    builder, parser = ElementTree.TreeBuilder(), expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data

    def refuse(*_: Any) -> None:
        raise ValueError(
            f"{path} has a document type (<!DOCTYPE ...>), which may hide entities and is not read; remove it"
        )

    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(body.encode("utf-8"), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise ValueError(
            f"{path} line {error.lineno} is not XML ({reason}); it was cut off or damaged: restore it"
        ) from error
    return builder.close()


def _text(data: bytes, path: Path) -> str:
    marked = marked_encoding(data) or UNMARKED_UTF16.get(data[:2])
    if marked is not None:
        return decode_as(data, marked, str(path))
    declared = DECLARED.match(data[:1024])
    if declared is None:
        return decode(data, str(path))
    name = declared.group(1).decode("ascii", "backslashreplace")
    return decode_as(data, _codec(name, path), str(path))


def _codec(name: str, path: Path) -> str:
    known = re.sub(r"[^a-z0-9]+", "_", name.lower())
    if known.startswith(WIDE):
        raise ValueError(f"{path} declares the encoding {name!r}, but has one byte a character; save it as UTF-8")
    codec = SUPERSETS.get(known, name)
    try:
        "x".encode(codec)  # refuses codecs that turn bytes into bytes, too
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"{path} declares the encoding {name!r}, which is not known; save it as UTF-8 and declare that"
        ) from error
    return codec
