"""One reader for text: encodings, line ends, tables and XML, in every file that the user writes."""

import codecs
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.images.files.tables import read_table
from stages.images.files.text import decode, lines_of, read_text
from stages.images.files.xml import read_xml
from stages.images.voc import read_list

COLUMNS = (("image", "tags"), ("image", "tag"))
TEXT = "größe, naïve\r\nzweite Zeile\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        codecs.BOM_UTF8 + TEXT.encode(),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_every_marked_encoding_gives_the_same_text(data: bytes, caplog: pytest.LogCaptureFixture) -> None:
    assert decode(data, "a.txt") == TEXT
    assert not caplog.records


def test_cp1252_is_read_with_a_warning_that_names_the_file(caplog: pytest.LogCaptureFixture) -> None:
    assert decode(TEXT.encode("cp1252"), "a.txt") == TEXT
    assert "a.txt is not UTF-8 (line 1) and was read as cp1252; save it as UTF-8" in caplog.text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"image\0tags", "holds zero bytes"),
        ("image,tags\n".encode("utf-16-le"), "holds zero bytes"),
        (b"PK\x03\x04rest", "is an archive or a spreadsheet"),
        (b"gr\x8a\xa7e\rzwei\r", "old Macs.*save it as UTF-8"),
        (b"ab\ncd\x81", "line 2 is neither UTF-8 nor cp1252"),
        (b"\x01\x02\xff", "holds control characters"),
        (codecs.BOM_UTF16_LE + b"a", "is said to be utf-16, but is not"),
        (codecs.BOM_UTF8 + b"\xff", "is said to be utf-8, but is not"),
        (codecs.BOM_UTF16_LE + b"a\0\0\0", "holds zero characters"),
    ],
)
def test_what_is_no_text_is_refused_by_name(data: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=rf"a\.txt.*{message}"):
        decode(data, "a.txt")


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.txt does not exist; restore it"):
        read_text(tmp_path / "none.txt", "restore it")
    with pytest.raises(ValueError, match="cannot be read"):
        read_text(tmp_path, "restore it")


@settings(max_examples=40)
@given(st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=("Cs",))), min_size=1))
def test_lines_end_with_line_ends_alone(lines: list[str]) -> None:
    for end in ("\n", "\r\n", "\r"):
        assert lines_of(end.join(lines)) == lines


TABLES = {
    "commas": "image,tags\na.jpg,x; y\nb.jpg,\n",
    "semicolons": 'image;tags\na.jpg;"x;y"\nb.jpg;\n',
    "tabs": "image\ttags\na.jpg\tx;y\nb.jpg\t\n",
    "quotes, capitals, spaces": '" Image ", "TAGS"\n"a.jpg", "x;y"\nb.jpg, ""\n',
    "empty rows": "\n,\nimage,tags\n\na.jpg,x;y\n , \n\nb.jpg,\n,\n,\n",
    "old Mac": "image,tags\ra.jpg,x;y\rb.jpg,\r",
    "a spreadsheet's hint": 'sep=;\r\nimage;tags\r\na.jpg;"x;y"\r\nb.jpg;\r\n',
    "other columns": 'id,tags,image,\n1,x;y,a.jpg,\n2,,b.jpg,"a, b"\n',
    "former name": "picture,tags\na.jpg,x;y\nb.jpg,\n",
    "former name beside the present": "picture,image,tags\nq,a.jpg,x;y\nq,b.jpg,\n",
}


@pytest.mark.parametrize("form", TABLES)
def test_all_forms_of_a_table_give_the_same_rows(form: str) -> None:
    rows = read_table(Path("t.csv"), TABLES[form], COLUMNS, {"picture": "image"}).rows
    assert [(row["image"], row["tags"].replace(" ", "")) for row in rows] == [("a.jpg", "x;y"), ("b.jpg", "")]


def test_rows_know_the_line_that_they_start_in() -> None:
    text = 'sep=,\nimage,tags\n\na,"x\ny"\nb,z\n'
    assert [row.line for row in read_table(Path("t.csv"), text, COLUMNS, {}).rows] == [4, 6]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the columns none, but needs image, tags or image, tag"),
        ("image tags\na x\n", "has the columns image tags, but needs"),
        ("image;label\na;x\n", "has the columns image, label, but needs"),
        ("image,tags,tags\na,x,y\n", "line 1 names the column tags more than once"),
        ("image,tags\na,x\nb\n", "line 3 has 1 values, expected 2 .image, tags. separated by commas"),
        ("image;tags\na;x;y\n", "line 2 has 3 values, expected 2 .image, tags. separated by semicolons.*quotes"),
        ('image,tags\na,x\nb,"y\nc,z\n', "line 3: a value that starts there.*quote that is not closed"),
        ('image,tags\na,"x"y\n', "line 2: a value that starts there"),
        ('image,tags\na,"' + "x" * 200_000 + '"\n', "line 2: a value that starts there.*larger than field limit"),
    ],
)
def test_bad_tables_are_named_with_their_line(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"t\.csv.*{message}"):
        read_table(Path("t.csv"), text, COLUMNS, {})


@settings(max_examples=60)
@given(st.text(max_size=60))
def test_any_text_is_a_table_or_is_refused(text: str) -> None:
    try:
        table = read_table(Path("t.csv"), text, COLUMNS, {})
    except ValueError as error:
        assert "t.csv" in str(error)
    else:
        assert all(any(row.values.values()) for row in table.rows)


BODY = "<annotation><folder>{}</folder><object><name>cat</name></object></annotation>"


def xml_file(path: Path, text: str, encoding: str, declared: str | None) -> Path:
    declaration = f'<?xml version="1.0" encoding="{declared}"?>\n' if declared else ""
    path.write_bytes((declaration + BODY.format(text)).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("text", "encoding", "declared"),
    [
        ("图片", "gb2312", "gb2312"),
        ("圖片镕", "gbk", "GB2312"),  # files that say gb2312 often hold its supersets
        ("图片库", "utf-8", "utf8"),
        ("写真", "shift_jis", "Shift_JIS"),
        ("①", "cp932", "shift_jis"),
        ("圖片", "big5", "big5"),
        ("사진", "cp949", "euc-kr"),
        ("größe", "cp1252", "windows-1252"),
        ("größe", "latin-1", "ISO-8859-1"),
        ("größe", "utf-16", "UTF-16"),
        ("größe", "utf-16-le", "utf-16"),
        ("größe", "utf-8-sig", "utf-8"),
        ("größe", "utf-8", None),
        ("größe", "cp1252", None),
    ],
)
def test_xml_is_read_in_the_encoding_that_it_declares(tmp_path: Path, text: str, encoding: str, declared: str) -> None:
    root = read_xml(xml_file(tmp_path / "a.xml", text, encoding, declared), "restore it")
    assert root.findtext("folder") == text
    assert root.findtext("object/name") == "cat"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'<?xml version="1.0" encoding="ansi"?><a/>', "declares the encoding 'ansi', which is not known; save it as"),
        (b'<?xml version="1.0" encoding="base64"?><a/>', "declares the encoding 'base64', which is not known"),
        (b'<?xml version="1.0" encoding="undefined"?><a/>', "declares the encoding 'undefined', which is not known"),
        (b'<?xml version="1.0" encoding="\xe9"?><a/>', "which is not known"),
        (b'<?xml version="1.0" encoding=""?><a/>', "declares the encoding '', which is not known"),
        (b'<?xml version="1.0" encoding="utf-16"?><a/>', "declares the encoding 'utf-16', but has one byte"),
        (b'<?xml version="1.0" encoding="utf-8"?><a>\xe9</a>', "is said to be utf-8, but is not"),
        (b"<a><b></a>", "line 1 is not XML .mismatched tag.*restore"),
        (b'<?xml version="1.0"?>\n<a>\n<b>\n', "line 4 is not XML"),
        (b"", "is not XML .no element found"),
        (b"<!DOCTYPE a><a/>", "has a document type"),
        (b'<!DOCTYPE a [<!ENTITY x "xx"><!ENTITY y "&x;&x;">]><a>&y;</a>', "has a document type"),
        (b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><a>&x;</a>', "has a document type"),
        (b"<a>&x;</a>", "undefined entity"),
        (b"<a>\0</a>", "holds zero bytes"),
        (b"\x89PNG\r\n\x1a\n\0", "is no text"),
    ],
)
def test_bad_xml_is_one_message_that_names_the_file(tmp_path: Path, data: bytes, message: str) -> None:
    (tmp_path / "a.xml").write_bytes(data)
    with pytest.raises(ValueError, match=rf"a\.xml.*{message}"):
        read_xml(tmp_path / "a.xml", "restore it")


def test_deep_xml_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_bytes(b"<a>" * 100_000 + b"</a>" * 100_000)
    assert read_xml(tmp_path / "a.xml", "restore it").tag == "a"


LIST_FORMS = {
    "utf-8-sig": "a\nb\n",
    "utf-16": "a\r\nb\r\n",
    "cp1252": "a\rb\n",
    "ascii": "\n a \n\n\tb",
}


@pytest.mark.parametrize("encoding", LIST_FORMS)
def test_lists_of_voc_are_read_in_every_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "train.txt").write_bytes(LIST_FORMS[encoding].encode(encoding))
    assert read_list(tmp_path / "train.txt") == ["a", "b"]


def test_points_are_read_in_every_encoding(tmp_path: Path, save: Any, listing: Any) -> None:
    (tmp_path / "points").mkdir()
    for name, encoding in {"a": "utf-8-sig", "b": "utf-16", "c": "ascii"}.items():
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
        (tmp_path / "points" / f"{name}.txt").write_bytes("2 1 0 1.0\r\n\r\n".encode(encoding))
    entry = {"images": str(tmp_path / "images"), "tags": None, "masks": None, "points": str(tmp_path / "points")}
    with listing("folder", classes=["x"], splits={"train": entry}) as made:
        assert [points.points.tolist() for points in made.points] == [[[1, 2]]] * 3


def test_instances_of_a_spreadsheet_in_cp1252_are_read_with_a_warning(
    tmp_path: Path, save: Any, listing: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    save(tmp_path / "images" / "a.png", np.zeros((2, 2, 3), np.uint8))
    save(tmp_path / "masks" / "a.png", np.array([[0, 1], [0, 1]], np.uint8))
    (tmp_path / "masks" / "instances.csv").write_bytes("image;instance;class\r\na;1;größe\r\n;;\r\n".encode("cp1252"))
    entry = {"images": str(tmp_path / "images"), "tags": None, "masks": str(tmp_path / "masks"), "points": None}
    with listing("folder", classes=["größe"], splits={"train": entry}) as made:
        assert made.ground_truth[0].classes.tolist() == [0]
    assert "instances.csv is not UTF-8 (line 2) and was read as cp1252; save it as UTF-8" in caplog.text
