"""Import of COCO-style JSON: SAM, SA-1B, COCO results and data sets, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.storage import read
from stages.ops import rle
from stages.proposals.import_proposals import import_proposals
from stages.proposals.settings import CocoJsonSettings

HEIGHT, WIDTH = 8, 10
MASKS = np.zeros((3, HEIGHT, WIDTH), bool)
MASKS[0, 1:4, 2:5] = True
MASKS[1, 4:8, 0:10] = True
MASKS[2, 2:6, 3:9] = True
RLES = rle.encode(MASKS)
UNCOMPRESSED = rle.encode_uncompressed(MASKS)
SAM = [
    {"segmentation": encoding, "bbox": box, "area": area, "predicted_iou": iou, "stability_score": stable}
    for encoding, box, area, iou, stable in zip(
        RLES, ([2, 1, 3, 3], [0, 4, 10, 4], [3, 2, 6, 4]), (9, 40, 24), (0.9, 0.8, 0.95), (0.5, 1.0, 0.9), strict=True
    )
]


@pytest.fixture
def run(tmp_path: Path, image_list) -> Callable[..., list[Proposals]]:
    """Imports a file or folder for images of HEIGHT x WIDTH."""

    def call(
        path: Path, *ids: str, count: int = 10, kind: str = "folder", paths: dict[str, str] | None = None
    ) -> list[Proposals]:
        images = image_list({i: np.zeros((HEIGHT, WIDTH, 3), np.uint8) for i in ids}, kind=kind, paths=paths)
        settings = CocoJsonSettings(
            kind="coco_json", path=str(path), prefixes=[""], count=count, supervision="class-agnostic masks"
        )
        import_proposals(images=images, output=tmp_path / "out.h5", settings=settings, source="sam", shard="1-of-1")
        with read(tmp_path / "out.h5", Proposals) as proposals:
            assert proposals.header == {"source": "sam", "supervision": "class-agnostic masks"}
            return list(proposals)

    return call


def write(path: Path, content: Any) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(SAM, id="SAM"),
        pytest.param({"image": {"image_id": 7, "height": HEIGHT}, "annotations": SAM}, id="SA-1B"),
        pytest.param([{**a, "segmentation": u} for a, u in zip(SAM, UNCOMPRESSED, strict=True)], id="uncompressed"),
    ],
)
def test_one_file_per_image_is_ranked_by_predicted_iou_times_stability(content: Any, tmp_path: Path, run):
    write(tmp_path / "sam" / "cat.json", content)
    (record,) = run(tmp_path / "sam", "cat")
    np.testing.assert_array_equal(record.regions.masks(), MASKS[[2, 1, 0]])
    np.testing.assert_allclose(record.scores, [0.855, 0.8, 0.45], rtol=1e-6)


@pytest.mark.parametrize("image_id", [139, "139", "000000000139"])
@pytest.mark.parametrize("image", ["139", "000000000139"])
def test_coco_results_belong_to_the_image_of_the_same_number(image: str, image_id: Any, tmp_path: Path, run):
    results = [
        {"image_id": image_id, "category_id": 1, "segmentation": encoding, "score": score}
        for encoding, score in zip(RLES, (0.2, 0.9, 0.5), strict=True)
    ]
    results.append({"image_id": 7, "segmentation": RLES[0], "score": 1.0})
    (record,) = run(write(tmp_path / "coco_instances_results.json", results), image, count=2)
    np.testing.assert_array_equal(record.regions.masks(), MASKS[[1, 2]])
    np.testing.assert_allclose(record.scores, [0.9, 0.5], rtol=1e-6)


def test_coco_data_sets_are_found_by_file_name_with_rles_and_polygons(tmp_path: Path, run):
    content = {
        "images": [{"id": 1, "file_name": "a/cat.jpg"}, {"id": 2, "file_name": "a/dog.jpg"}],
        "annotations": [
            {"image_id": 1, "segmentation": RLES[0]},
            {"image_id": 1, "segmentation": [[2, 1, 5, 1, 5, 7, 2, 7]]},
        ],
    }
    path = write(tmp_path / "data.json", content)
    cat, dog = run(path, "cat", "dog")
    masks = cat.regions.masks()
    np.testing.assert_array_equal(masks[0], MASKS[0])
    assert masks[1, 1:7, 2:5].all()
    assert masks[1].sum() == 18
    np.testing.assert_allclose(cat.scores, [1, 0.5])
    assert len(dog.scores) == 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"masks": []}, r"cat\.json holds an object with \['masks'\], which is no known layout"),
        (3, "holds a int, which is no known layout"),
        ([{"bbox": [0, 0, 1, 1]}], "cat: entry 0 of annotations: it has no mask in `segmentation`"),
        ([{"segmentation": {"size": [9, 9], "counts": "1"}}], "entry 0 of annotations is no mask of an image of 8x10"),
        ([{"segmentation": {"size": [8, 10], "counts": [3, 4]}}], "entry 0 of annotations is no mask .* sum to 7"),
        ([{"segmentation": "mask.png"}], "entry 0 of annotations is no mask .*'mask.png', expected polygons"),
        ([{**SAM[0], "score": 1.0}, {"segmentation": RLES[1]}], "1 of 2 annotations have a score"),
        ([{**SAM[0], "score": float("nan")}], "entry 0 of annotations: score is nan, expected a finite"),
    ],
)
def test_bad_content_is_refused_by_name_and_leaves_no_artifact(content: Any, message: str, tmp_path: Path, run):
    write(tmp_path / "sam" / "cat.json", content)
    with pytest.raises(ValueError, match=message):
        run(tmp_path / "sam", "cat")
    assert not (tmp_path / "out.h5").exists()


def test_files_cut_off_or_absent_or_of_another_data_set_are_refused_by_name(tmp_path: Path, run):
    whole = json.dumps(SAM)
    write(tmp_path / "sam" / "cat.json", []).write_text(whole[: len(whole) // 2])
    results = write(tmp_path / "results.json", [{"image_id": 7, "segmentation": RLES[0]}])
    no_ids = write(tmp_path / "one.json", SAM)
    data_set = write(tmp_path / "set.json", {"images": [{"id": 7}], "annotations": [{"image_id": 7, **SAM[0]}]})
    cases = [
        (tmp_path / "sam", ("cat",), r"cat\.json is not JSON, or was cut off"),
        (tmp_path / "sam", ("dog",), r"no proposals of image 'dog': looked for dog\.json"),
        (tmp_path / "nowhere", ("cat",), "nowhere does not exist"),
        (results, ("cat", "dog"), r"none of the 2 images; its images are like 7, those of the list like cat"),
        (no_ids, ("cat",), r"annotation 0 names no image_id; .* as <image id>\.json"),
        (data_set, ("7", "8"), "lists .* but not '8'"),
    ]
    for path, ids, message in cases:
        with pytest.raises((ValueError, FileNotFoundError), match=message):
            run(path, *ids)
        assert not (tmp_path / "out.h5").exists()
