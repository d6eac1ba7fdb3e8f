"""The report on what people have marked in a gallery, and files of marks that cannot be used."""

import json

import pytest

from stages.core.artifacts.files import read_json
from stages.inspection.report_marks import report_marks
from tests.inspection.test_inspection_gallery import LEFT, RIGHT, World


@pytest.fixture
def report(tmp_path):
    """A function from the marks of images (and other keys of the file) to the report."""
    toy = World(tmp_path, ["a", "b"], ["cat", "dog"])
    toy.instances = {i: toy.predicted(i, [LEFT, RIGHT, LEFT], [0, 1, 0], [0.95, 0.5, 0.2]) for i in toy.images}
    arguments = toy.write()
    instances = next(path for path in arguments["artifacts"] if path.name == "instances.h5")
    marks, output = tmp_path / "marks.json", tmp_path / "report.json"

    def report(images, **changes):
        data = {
            "format": "tagmask marks", "version": 1, "dataset": "toy", "split": "val", "run": "cim", "fingerprint": "",
            "images": images, **changes,
        }  # fmt: skip
        marks.write_text(json.dumps(data))
        report_marks(images=arguments["images"], instances=instances, marks=marks, output=output)
        return read_json(output)

    return report


def said(index, mark, layer="predictions", **changes):
    name, score = [("cat", 0.95), ("dog", 0.5), ("cat", 0.2)][index]
    return {"layer": layer, "index": index, "class": name, "score": score, "mark": mark} | changes


def test_marks_are_counted_by_class_and_by_score(report, caplog):
    found = report([
        {"image": "a", "mark": "good", "instances": [said(0, "good"), said(1, "wrong class"), said(2, "bad")]},
        {"image": "b", "mark": None, "instances": [said(0, "good"), said(0, "bad", layer="predictions, mask_rcnn")]},
    ])  # fmt: skip
    assert found["images"] == {"good": 1, "bad": 0, "wrong class": 0}
    assert found["instances"] == {"good": 2, "bad": 1, "wrong class": 1, "good share": 50.0}
    assert found["classes"]["cat"] == {"good": 2, "bad": 1, "wrong class": 0, "good share": 66.7}
    assert found["classes"]["dog"]["good share"] == 0.0
    assert [(one["from"], one["good share"]) for one in found["scores"] if one["good share"] is not None] == [
        (0.1, 0.0), (0.5, 0.0), (0.9, 100.0),
    ]  # fmt: skip


def test_without_marks_there_are_no_shares(report):
    found = report([])
    assert found["instances"] == {"good": 0, "bad": 0, "wrong class": 0, "good share": None}


@pytest.mark.parametrize(
    ("images", "changes", "message"),
    [
        pytest.param([], {"format": "other"}, r"marks\.json is no file of marks as a gallery saves it: format", id="format"),
        pytest.param([], {"run": "bestie"}, r"marks of run 'bestie' on split 'val', expected 'cim' on 'val'", id="run"),
        pytest.param([], {"split": "train"}, r"on split 'train', expected 'cim' on 'val'", id="split"),
        pytest.param([{"image": "c", "mark": "bad", "instances": []}], {}, r"marks 1 images .*such as 'c'", id="image"),
        pytest.param([{"image": "a", "mark": "nice", "instances": []}], {}, r"images\.0\.mark", id="mark"),
        pytest.param([{"image": "a", "mark": "bad", "instances": []}] * 2, {}, r"names an image twice", id="twice"),
        pytest.param([{"image": "a", "mark": None, "instances": [said(0, "bad", score=0.5)]}], {}, r"instance 1 \(cat 0\.5\) is not among the predictions", id="score"),
        pytest.param([{"image": "a", "mark": None, "instances": [said(0, "bad", mask=[1])]}], {}, r"images\.0\.instances\.0\.mask", id="a mask"),
    ],
)  # fmt: skip
def test_marks_that_cannot_be_used_are_refused(report, images, changes, message):
    with pytest.raises(ValueError, match=message):
        report(images, **changes)
