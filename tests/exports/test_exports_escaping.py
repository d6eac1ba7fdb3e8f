"""Hostile names of classes in labelmap.txt, in Markdown and in XML."""

import re

import pytest

from stages.exports.escaping import labelmap_names, markdown_code, markdown_text, xml_text
from stages.exports.export_voc import export_voc

HOSTILE = ["a|b <img src=x onerror=alert(1)>", "line\nbreak", "[x](javascript:y)", "*b* _i_ `c` ~~d~~ $e$", "\\|"]


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_cell_of_markdown_is_markup(name):
    shown = markdown_text(name)
    assert "\n" not in shown
    assert not re.search(r"(?<!\\)(?:\\\\)*[|`*_\[\]~$]", shown)
    assert not re.search(r"[<>]", shown)
    assert re.sub(r"\\(.)", r"\1", shown).replace("&lt;", "<").replace("&gt;", ">") == name.replace("\n", " ")


def test_plain_words_stay_as_they_are():
    assert markdown_text("image tags; proposals of 'heg', which have seen: 3.5") == (
        "image tags; proposals of 'heg', which have seen: 3.5"
    )


def test_backticks_cannot_end_a_block_of_code():
    block = markdown_code("a: '```'\n<script>\n", "yaml")
    assert block == "````yaml\na: '```'\n<script>\n````\n"
    assert markdown_code("a: 1\n", "yaml") == "```yaml\na: 1\n```\n"


def test_xml_keeps_spaces_of_every_kind():
    assert xml_text("a\n\t\r\"'<&>") == "a&#10;&#9;&#13;&quot;&#x27;&lt;&amp;&gt;"


@pytest.mark.parametrize(
    ("classes", "names"),
    [
        (["cat", "two words"], ["cat", "two words"]),
        (["line\nbreak", "a:b::c"], ["line_break", "a_b_c"]),
        (["# comment", "no # comment"], ["_ comment", "no # comment"]),
        (["a\u2028b", "c\x85d"], ["a_b", "c_d"]),
    ],
)
def test_names_in_a_labelmap_are_one_field_of_one_line(classes, names, caplog):
    assert labelmap_names(classes) == names
    assert len(caplog.records) == sum(old != new for old, new in zip(classes, names, strict=True))


@pytest.mark.parametrize("classes", [["a:b", "a_b"], ["a\nb", "a:b"], ["background", "cat"]])
def test_names_that_a_labelmap_would_make_one_are_refused(classes):
    with pytest.raises(ValueError, match="labelmap.txt cannot tell class .* rename one, or export coco.json"):
        labelmap_names(classes)


def test_the_labelmap_of_a_split_has_a_line_for_each_class(split, selection, caplog):
    split.classes = ["a|b <img src=x onerror=alert(1)>", "line\nbreak"]
    export_voc(**split.write(), output=split.folder / "voc", settings=selection())
    lines = (split.folder / "voc" / "labelmap.txt").read_text(encoding="utf-8").splitlines()
    assert lines[1:] == ["background:0,0,0::", "a|b <img src=x onerror=alert(1)>:128,0,0::", "line_break:0,128,0::"]
    assert "class 'line\\nbreak' is called 'line_break' in labelmap.txt" in caplog.text
