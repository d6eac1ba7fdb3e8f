"""COCO JSON, read back by pycocotools and by our own reader of COCO data sets."""

import contextlib
import io
import json

import numpy as np
import pytest
from pycocotools.coco import COCO

from stages.exports.export_coco import export_coco
from stages.exports.export_results import export_results
from stages.images.coco_json import CocoJson
from tests.exports.conftest import SIZE, rectangle, ring

# pycocotools still calls NumPy as before 2.0.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def load(path) -> COCO:
    with contextlib.redirect_stdout(io.StringIO()):
        return COCO(str(path))


@pytest.fixture
def official(split):
    """The split as a COCO data set, with official ids."""
    split.kind, split.root, split.category_ids = "coco", "/data/coco", [17, 18]
    names = {"139": "val2017/000000000139.jpg", "285": "val2017/000000000285.jpg", "632": "val2017/000000000632.jpg"}
    for old, new in zip(list(split.paths), names, strict=True):
        for mapping in (split.tags, split.sizes, split.predicted):
            mapping[new] = mapping.pop(old)
    split.paths = names
    return split


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_pycocotools_loads_every_mask_with_class_box_area_and_score(split, coco_form, form):
    output = split.folder / "coco.json"
    export_coco(**split.write(), output=output, settings=coco_form(form))
    coco = load(output)
    assert [coco.imgs[i]["file_name"] for i in (1, 2, 3)] == ["a.png", "b.png", "sub/c.png"]
    assert [(c["id"], c["name"]) for c in coco.loadCats(coco.getCatIds())] == [(1, "cat"), (2, "dog")]
    for number, image in enumerate(split.predicted, start=1):
        found = coco.loadAnns(coco.getAnnIds(imgIds=number))
        masks, classes, scores = split.predicted[image]
        assert [a["category_id"] - 1 for a in found] == classes
        assert [a["score"] for a in found] == scores
        for annotation, mask in zip(found, masks, strict=True):
            np.testing.assert_array_equal(coco.annToMask(annotation), mask)
            assert (annotation["area"], annotation["iscrowd"]) == (mask.sum(), 0)
    assert coco.loadAnns([1])[0]["bbox"] == [3, 2, 22, 18]


def test_our_own_reader_takes_the_polygons(split, coco_form):
    output = split.folder / "coco.json"
    export_coco(**split.write(), output=output, settings=coco_form("polygons"))
    ground_truth = CocoJson(output).ground_truth("1", *SIZE, {1: 0, 2: 1}.get)
    np.testing.assert_array_equal(ground_truth.masks[0], ring())


def test_ids_are_official_where_the_data_set_has_them(official, coco_form):
    output = official.folder / "coco.json"
    export_coco(**official.write(), output=output, settings=coco_form())
    coco = load(output)
    assert {i: entry["file_name"] for i, entry in coco.imgs.items()} == {
        139: "000000000139.jpg", 285: "000000000285.jpg", 632: "000000000632.jpg",
    }  # fmt: skip
    assert set(coco.cats) == {17, 18}


@pytest.mark.parametrize(
    ("kind", "paths", "expected"),
    [
        pytest.param("folder", ["x/1.jpg", "x/2.jpg", "x/3.jpg"], "x/1.jpg", id="own images keep their folder"),
        pytest.param("voc", ["JPEGImages/1.jpg", "JPEGImages/2.jpg", "JPEGImages/3.jpg"], "1.jpg", id="voc"),
        pytest.param("coco", ["p/a/1.jpg", "p/a/2.jpg", "p/b/3.jpg"], "a/1.jpg", id="subfolders of a coco split"),
        pytest.param("coco", ["p/1.jpg", "pq/2.jpg", "p/3.jpg"], "p/1.jpg", id="folders that begin alike"),
    ],
)
def test_file_names_are_those_that_other_tools_look_for(split, coco_form, kind, paths, expected):
    split.kind = kind
    names = ["1", "2", "3"]
    for mapping in (split.tags, split.sizes, split.predicted):
        for old, new in zip(list(mapping), names, strict=True):
            mapping[new] = mapping.pop(old)
    split.paths = dict(zip(names, paths, strict=True))
    export_coco(**split.write(), output=split.folder / "coco.json", settings=coco_form())
    assert json.loads((split.folder / "coco.json").read_text())["images"][0]["file_name"] == expected


def test_nothing_predicted_is_a_valid_file_without_annotations(split, coco_form):
    output = split.folder / "coco.json"
    export_coco(**split.write(), output=output, settings=coco_form(score_threshold=0.95))
    coco = load(output)
    assert (len(coco.imgs), len(coco.anns)) == (3, 0)


def test_results_are_what_a_test_server_takes(official, selection):
    output = official.folder / "results.json"
    export_results(**official.write(), output=output, settings=selection())
    results = json.loads(output.read_text())
    assert [set(entry) for entry in results] == [{"image_id", "category_id", "segmentation", "score"}] * 4
    assert {(entry["image_id"], entry["category_id"]) for entry in results} == {(139, 17), (139, 18), (285, 18)}
    assert all(isinstance(entry["segmentation"]["counts"], str) for entry in results)
    ground_truth = load(_listing(official))
    with contextlib.redirect_stdout(io.StringIO()):
        loaded = ground_truth.loadRes(str(output))
    np.testing.assert_array_equal(loaded.annToMask(loaded.loadAnns([2])[0]), rectangle(0, 12, 0, 16))


def _listing(split):
    """The image_info file of the split, as COCO publishes it for its test sets."""
    path = split.folder / "image_info.json"
    images = [{"id": int(i), "file_name": p, "height": SIZE[0], "width": SIZE[1]} for i, p in split.paths.items()]
    path.write_text(
        json.dumps({"info": {}, "images": images, "annotations": [], "categories": [{"id": 17}, {"id": 18}]})
    )
    return path


@pytest.mark.parametrize("kind", ["voc", "folder", "shapes"])
def test_results_need_official_ids(split, selection, kind):
    split.kind = kind
    with pytest.raises(ValueError, match=f"kind '{kind}'.*'a'.*export coco.json instead"):
        export_results(**split.write(), output=split.folder / "results.json", settings=selection())
    assert not (split.folder / "results.json").exists()


@pytest.mark.parametrize("names", [("left", "right", "3"), ("1", "01", "001")])
def test_ids_that_are_text_are_numbered(official, coco_form, selection, names):
    renamed = dict(zip(list(official.paths), names, strict=True))
    for field in ("paths", "tags", "sizes", "predicted"):
        setattr(official, field, {renamed[image]: value for image, value in getattr(official, field).items()})
    output = official.folder / "coco.json"
    export_coco(**official.write(), output=output, settings=coco_form())
    assert [image["id"] for image in json.loads(output.read_text())["images"]] == [1, 2, 3]
    with pytest.raises(ValueError, match=r"such as .* have no official number .* export coco\.json instead"):
        export_results(**official.write(), output=output, settings=selection())
