"""Every table, JSON and XML of the pages is read as a user's file would be, with the tags that the page says."""

import re

import numpy as np
import pytest
from PIL import Image

from tests.docs.blocks import ROOT, all_blocks
from tests.pipeline.test_pipeline_cases import Case

DATA = all_blocks("csv", "json", "xml")
BOTH = {"rust_0001": ["scratch", "dent"]}
EXPECTED = {
    "image,tags\nrust": ("tags.csv", BOTH | {"rust_0002": ["dent"], "rust_0003": []}),
    '[{"id": 1, "data"': ("tasks.json", BOTH),
    '[{"image": "/data/upload': ("tasks.json", BOTH),
    "annotation_id,annotator": ("tasks.csv", BOTH | {"rust_0002": ["dent"]}),
    "<annotations>": ("annotations.xml", BOTH | {"rust_0003": []}),
    "image,tags\npart": ("tags.csv", {"part_0001": ["scratch"], "part_0002": [], "part_0003": []}),
}
CLASSES = ("scratch", "dent")


@pytest.fixture
def case(tmp_path):
    return Case(tmp_path)


def test_every_block_of_data_is_read_below():
    known = [*EXPECTED, "image,instance,class"]
    assert [str(block) for block in DATA if not block.text.startswith(tuple(known))] == []
    assert len(DATA) >= len(known)


@pytest.mark.parametrize("block", [block for block in DATA if "instance,class" not in block.text], ids=str)
def test_tags_are_read_as_the_page_says(block, case):
    ((name, tags),) = [found for start, found in EXPECTED.items() if block.text.startswith(start)]
    case.draw(*[f"{image}.jpg" for image in tags])
    case.write(name, block.text)
    assert case.listed(case.of_folder(name, classes=CLASSES))[0] == tags


def test_instances_are_read_as_the_page_says(case):
    (table,) = [block for block in DATA if block.text.startswith("image,instance,class")]
    case.draw("rust_0001.jpg")
    case.write("tags.csv", "image,tags\nrust_0001,scratch;dent\n")
    case.write("masks/instances.csv", table.text)
    ids = np.zeros((48, 64), np.uint8)
    ids[:5, :4], ids[10:13, :] = 1, 2
    Image.fromarray(ids).save(case.folder / "masks" / "rust_0001.png")
    assert case.listed(case.of_folder(masks="masks", classes=CLASSES))[1] == {"rust_0001": [20, 192]}


def text_with(start):
    (block,) = [block for block in all_blocks("text") if block.text.startswith(start)]
    return block.text


def test_a_folder_for_each_class_is_read_as_the_page_says(case):
    case.draw(*[path.removeprefix("parts/") for path in text_with("parts/").split()])
    assert case.listed(case.of_folder("images", classes=CLASSES))[0] == {
        "dent/0001": ["dent"],
        "good/0001": [],
        "scratch/0001": ["scratch"],
        "scratch/monday/0002": ["scratch"],
    }


def test_the_tree_of_the_code_names_what_is_there():
    folder = ""
    for line in text_with("Snakefile  ").splitlines():
        names = re.match(r" *(\S+(?: \S+)*)", line)[1].split()
        inside = line.startswith("  ")
        for name in names:
            assert (ROOT / (folder if inside else "") / name).exists(), name
        folder = folder if inside else names[0]


def test_files_of_yolo_are_read_as_the_page_says(case):
    case.draw("rust_0001.jpg")
    name, text = "", ""
    for line in text_with("labels/rust_0001.txt").splitlines():
        named = re.match(r"(\S+):\s+(.*)", line)
        if named and "[" not in named[1]:
            name, text = (named[1], "") if "/" in named[1] or "." in named[1] else (name, text)
            line = named[2]
        text += line.strip() + "\n"
        case.write(name, text)
    assert case.listed(case.of_folder("labels", classes=CLASSES))[0] == BOTH
