"""The step merge_tiles: from the ground truth of tiles to that of the whole image, whatever the order of the tiles."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.records import MissingImage
from stages.core.artifacts.storage import Provenance, create, read
from stages.evaluation.evaluate_instances import evaluate_instances
from stages.exports.export_coco import export_coco
from stages.images.list_boxes import list_boxes
from stages.project.project import load_files
from stages.tiles.merge_tiles import merge_tiles
from stages.tiles.settings import TilesSettings
from tests.images.conftest import make_settings, run_listing

ROOT = Path(__file__).parents[2]
SETTINGS = TilesSettings(join_iou=0.5, absorb_share=0.7, max_instances=100)
CLASSES = ["cat", "dog"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images with masks, one larger than a tile with an object across a corner of four, listed whole and as tiles."""
    root = tmp_path_factory.mktemp("tiles")
    ids = np.zeros((200, 300), np.uint8)
    ids[10:60, 20:260], ids[90:140, 100:150], ids[150:170, 5:25] = 1, 2, 3
    for name, values in (("a", ids), ("sub/b", ids[80:180, :100])):
        (root / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "masks" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((*values.shape, 3), 200, np.uint8)).save(root / "images" / f"{name}.png")
        Image.fromarray(values).save(root / "masks" / f"{name}.png")
    (root / "masks" / "instances.csv").write_text("image,instance,class\na,1,cat\na,2,dog\na,3,cat\nsub/b,3,cat\n")
    (root / "tags.csv").write_text("image,tags\na,cat;dog\nsub/b,cat\n")
    files = {"images": root / "images", "tags": root / "tags.csv", "masks": root / "masks"}
    entry = {key: str(path) for key, path in files.items()} | {"points": None}
    tiling = {"size": 128, "overlap": 32, "min_share": 0.25}
    for split in ("val", "val.tiles"):
        run_listing(root / split, "folder", split, classes=CLASSES, splits={"val": entry}, tiling=tiling)
    return root


def reordered(path: Path, record: Any, output: Path, order: Callable[[int], list[int]]) -> Path:
    with read(path, record) as old, create(output, record, header=old.header, provenance=NOTHING) as new:
        for i in order(len(old)):
            new.append(old[i])
    return output


NOTHING = Provenance("test", None, None, {})


def predictions(data: Path, output: Path, order: Callable[[int], list[int]] = lambda n: list(range(n))) -> Path:
    """The ground truth of the tiles as instances, each with a score of its object's own."""
    with read(data / "val.tiles" / "ground_truth.h5", GroundTruth) as known:
        header = known.header | {"run": "exact", "method": "exact", "supervision": "image tags"}
        with create(output, Instances, header=header, provenance=NOTHING) as out:
            for i in order(len(known)):
                tile = known[i]
                scores = (1 / (1 + tile.annotation_ids)).astype(np.float32)
                regions = {"atoms": tile.atoms, "membership": tile.membership, "atom_count": tile.atom_count}
                out.append(Instances(image=tile.image, classes=tile.classes, scores=scores, **regions))
    return output


def merged(data: Path, instances: Path, output: Path, **files: Path) -> Path:
    files = {"images": data / "val" / "images.h5", "tiles": data / "val.tiles" / "images.h5"} | files
    merge_tiles(instances=instances, output=output, settings=SETTINGS, **files)
    return output


def test_the_ground_truth_of_tiles_becomes_that_of_the_images(data: Path, tmp_path: Path) -> None:
    output = merged(data, predictions(data, tmp_path / "tiles.h5"), tmp_path / "whole.h5")
    with read(output, Instances) as found, read(data / "val" / "ground_truth.h5", GroundTruth) as known:
        assert found.ids == known.ids == ["a", "sub/b"]
        assert (found.header["run"], found.header["classes"]) == ("exact", CLASSES)
        for image in known.ids:
            merged_, annotated = found.find(image), known.find(image)
            np.testing.assert_array_equal(merged_.regions.masks(), annotated.regions.masks())
            assert merged_.classes.tolist() == annotated.classes.tolist()
            np.testing.assert_array_equal(merged_.scores, (1 / (1 + annotated.annotation_ids)).astype(np.float32))
            assert merged_.boxes is None


def test_the_order_of_tiles_changes_nothing(data: Path, tmp_path: Path) -> None:
    def shuffled(count: int) -> list[int]:
        return np.random.default_rng(1).permutation(count).tolist()

    plain = merged(data, predictions(data, tmp_path / "tiles.h5"), tmp_path / "whole.h5")
    tiles = reordered(data / "val.tiles" / "images.h5", ImageRecord, tmp_path / "images.h5", shuffled)
    other = merged(data, predictions(data, tmp_path / "mixed.h5", shuffled), tmp_path / "other.h5", tiles=tiles)
    with read(plain, Instances) as first, read(other, Instances) as second:
        assert first.fingerprint == second.fingerprint


def test_merged_instances_are_measured_and_exported_as_those_of_whole_images(data: Path, tmp_path: Path) -> None:
    output = merged(data, predictions(data, tmp_path / "tiles.h5"), tmp_path / "whole.h5")
    files = {"images": data / "val" / "images.h5", "ground_truth": data / "val" / "ground_truth.h5"}
    entry = {"images": "images", "tags": None, "masks": None, "points": None}
    chosen = make_settings("folder", classes=CLASSES, splits={"val": entry}).chosen("val")
    list_boxes(**files, output=tmp_path / "boxes.h5", settings=chosen, split="val")
    project = load_files(ROOT / "config.yaml")
    evaluate_instances(
        instances=output, **files, boxes=tmp_path / "boxes.h5", output_metrics=tmp_path / "metrics.json",
        output_plot=tmp_path / "curves.png", settings=project.evaluation.instances,
    )  # fmt: skip
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert (metrics["n_images"], metrics["n_instances"], metrics["n_predictions"]) == (2, 4, 4)
    assert metrics["masks"]["coco"]["AP"] == pytest.approx(100)
    assert [metrics["boxes"][name]["AP50"] for name in ("voc07", "voc12")] == [100.0, 100.0]
    export_coco(
        images=files["images"], instances=output, output=tmp_path / "coco.json",
        settings=project.exports.coco_of("predictions"),
    )  # fmt: skip
    exported = json.loads((tmp_path / "coco.json").read_text())
    assert [image["file_name"] for image in exported["images"]] == ["a.png", "sub/b.png"]
    assert sorted(entry["area"] for entry in exported["annotations"]) == [400, 400, 2500, 12000]


def test_a_tile_without_a_record_of_instances_is_named(data: Path, tmp_path: Path) -> None:
    some = predictions(data, tmp_path / "tiles.h5", lambda n: list(range(n - 1)))
    with pytest.raises(MissingImage, match=r"tiles\.h5 has no image 'sub/b@0_0'; it holds 6"):
        merged(data, some, tmp_path / "whole.h5")
    assert not (tmp_path / "whole.h5").exists()


def test_lists_that_do_not_belong_together_are_refused(data: Path, tmp_path: Path) -> None:
    instances = predictions(data, tmp_path / "tiles.h5")
    with pytest.raises(ValueError, match=r"val/images\.h5 lists whole images; give the images\.h5 of their tiles"):
        merged(data, instances, tmp_path / "whole.h5", tiles=data / "val" / "images.h5")
    tiles = reordered(data / "val.tiles" / "images.h5", ImageRecord, tmp_path / "images.h5", lambda n: list(range(6)))
    with pytest.raises(
        ValueError, match=r"has 0 tiles of other images than .*, and none of 1 of its images, such as sub/b"
    ):
        merged(data, instances, tmp_path / "whole.h5", tiles=tiles)
    images = reordered(data / "val" / "images.h5", ImageRecord, tmp_path / "one.h5", lambda n: [0])
    with pytest.raises(ValueError, match=r"has 1 tiles of other images than .*one\.h5"):
        merged(data, instances, tmp_path / "whole.h5", images=images)


def test_other_classes_are_refused(data: Path, tmp_path: Path) -> None:
    with read(data / "val.tiles" / "images.h5", ImageRecord) as old:
        header = old.header | {"classes": ["dog", "cat"]}
        with create(tmp_path / "images.h5", ImageRecord, header=header, provenance=NOTHING) as new:
            for record in old:
                new.append(record)
    with pytest.raises(ValueError, match=r"has the classes \['cat', 'dog'\], .*images\.h5 has \['dog', 'cat'\]"):
        merged(data, predictions(data, tmp_path / "t.h5"), tmp_path / "whole.h5", tiles=tmp_path / "images.h5")


@pytest.mark.parametrize(
    ("key", "value"), [("join_iou", 1.0), ("join_iou", -0.1), ("absorb_share", 0.0), ("max_instances", 0)]
)
def test_settings_that_cannot_be_are_refused(key: str, value: float) -> None:
    with pytest.raises(ValueError, match=key):
        TilesSettings.model_validate(SETTINGS.model_dump() | {key: value})
