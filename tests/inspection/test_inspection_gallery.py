"""The gallery from artifacts to a page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.files import write_json
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create
from stages.inspection.build_gallery import build_gallery
from stages.inspection.gallery.choice import by_quality, evenly, prediction_quality
from stages.inspection.lens.painted import scaled_points
from stages.inspection.settings import GallerySettings
from stages.ops.regions import Regions
from tests.inspection.gallery_page import GalleryPage, as_text, masks

HEIGHT, WIDTH = 24, 32
SETTINGS = GallerySettings(
    images=3, choice="even", longer_side=64, thumbnail_side=64, jpeg_quality=80, opacity=0.5, proposals=2, responses=2,
    predictions=2, score_threshold=0.3, single_file=False,
)  # fmt: skip
METRICS = {
    "run": "cim", "split": "val", "n_images": 2, "treatment": {"void": "background: they stay"},
    "masks": {"voc": {"mAP50": 41.26}, "coco": {"AP": None}, "ABO": 50.0, "MABO": 49.0},
    "boxes": {"voc07": {"AP50": 30.5}, "voc12": {"AP50": 31.5}}, "corloc": None, "semantic": {"mIoU": 60.5},
}  # fmt: skip
LEFT, RIGHT = (2, 20, 2, 14), (4, 18, 18, 30)


def regions_of(*rectangles: tuple[int, int, int, int], shape: tuple[int, int] = (HEIGHT, WIDTH)) -> dict[str, Any]:
    masks = np.zeros((len(rectangles), *shape), bool)
    for mask, (y0, y1, x0, x1) in zip(masks, rectangles, strict=True):
        mask[y0:y1, x0:x1] = True
    return packed_fields(Regions.from_masks(masks))


class World:
    """A split of images with all artifacts of a run; a test changes what it needs before `write`."""

    def __init__(self, folder: Path, ids: list[str], classes: list[str]) -> None:
        self.folder, self.classes = folder, classes
        self.images = {i: self._image(i, n) for n, i in enumerate(ids)}
        self.proposals: dict[str, Any] | None = {
            i: Proposals(image=i, **regions_of(LEFT, RIGHT, (0, 24, 0, 32)), scores=np.ones(3, np.float32)) for i in ids
        }
        self.cues = {i: self._cues(i) for i in ids}
        self.labels: dict[str, Any] | None = {
            i: ClusterLabels(
                image=i, clusters=np.array([1, 2, 0], np.int32), cluster_classes=np.array([0, -1, -1], np.int32)
            )
            for i in ids
        }
        self.instances = {i: self.predicted(i, [LEFT, RIGHT], [0, 1], [0.9, 0.2]) for i in ids}
        self.retrained: dict[str, Any] | None = None
        # What BESTIE's runs have.
        self.semantics: dict[str, Any] | None = None
        self.semantic_cues: dict[str, Any] | None = None
        self.pseudo_instances: dict[str, Any] | None = None
        self.refined_labels: dict[str, Any] | None = None
        self.maps: dict[str, Any] | None = None
        self.ground_truth = {i: self.annotated(i, [LEFT], [0]) for i in ids}

    def _image(self, image: str, shade: int) -> ImageRecord:
        encoded = cv2.imencode(".png", np.full((HEIGHT, WIDTH, 3), 40 + shade, np.uint8))[1]
        return ImageRecord(
            image=image, path="", encoded=encoded.reshape(-1), height=HEIGHT, width=WIDTH, file_size=encoded.size,
            digest="", tags=np.arange(len(self.classes)) == 0, looked_at=True,
        )  # fmt: skip

    def _cues(self, image: str) -> Cues:
        return Cues(
            image=image,
            responses=np.arange(len(self.classes) * 4, dtype=np.float32).reshape(-1, 2, 2),
            class_scores=np.ones(len(self.classes), np.float32),
            peaks=np.array([[10, 6]], np.int32),
            peak_classes=np.zeros(1, np.int32),
            peak_scores=np.ones(1, np.float32),
        )

    def predicted(self, image: str, rectangles: list, classes: list, scores: list) -> Instances:
        return Instances(
            image=image,
            **regions_of(*rectangles),
            classes=np.array(classes, np.int32),
            scores=np.array(scores, np.float32),
        )

    def annotated(self, image: str, rectangles: list, classes: list, *, known: bool = True, shape=None) -> GroundTruth:
        count = len(rectangles)
        return GroundTruth(
            image=image, annotated=known, **regions_of(*rectangles, shape=shape or (HEIGHT, WIDTH)),
            void=np.zeros(0, np.uint8), classes=np.array(classes, np.int32), crowd=np.zeros(count, bool),
            difficult=np.zeros(count, bool), annotation_ids=np.zeros(count, np.int64),
        )  # fmt: skip

    def write(self, **changed: Any) -> dict[str, Any]:
        """Write all artifacts; returns the arguments of build_gallery. `changed`: header entries by artifact."""
        base = {"classes": self.classes, "category_ids": [1] * len(self.classes)}
        tags = {"supervision": "image tags"}
        kinds = {  # in the order of the panels
            "images": (
                self.images,
                {"name": "toy", "kind": "folder", "split": "val", "root": "", "negatives": 0, "unknown": 0},
            ),
            "proposals": (self.proposals, {"source": "heg", "supervision": "label-free"}),
            "semantics": (self.semantics, {"source": "cam", **tags}),
            "semantic_cues": (self.semantic_cues, {"head": "cam", **tags}),
            "cues": (self.cues, {"head": "prm", **tags}),
            "cluster_labels": (self.labels, {}),
            "pseudo_instances": (self.pseudo_instances, {"run": "bestie", "cues": "pam", **tags}),
            "refined_labels": (self.refined_labels, {"run": "bestie", "updates": [1, 50], **tags}),
            "maps": (self.maps, {"run": "bestie", **tags}),
            "instances": (self.instances, {"run": "cim", "method": "cim", **tags}),
            "retrained": (self.retrained, {"run": "cim/mask_rcnn", "method": "cim + mask_rcnn", **tags}),
            "ground_truth": (self.ground_truth, {}),
        }
        arguments: dict[str, Any] = {
            "artifacts": [],
            "metrics": None,
            "output": self.folder / "index.html",
            "output_data": self.folder / "data",
            "threads": 2,
            "settings": SETTINGS,
        }
        for name, (found, header) in kinds.items():
            if found is None:
                continue
            path = self.folder / f"{name}.h5"
            if name in ("images", "ground_truth"):
                arguments[name] = path
            else:
                arguments["artifacts"].append(path)
            kind = type(next(iter(found.values())))
            header = base | header | changed.get(name, {})
            made_by = Provenance(step="test", settings=None, seed=None, inputs={})
            with create(path, kind, header=header, provenance=made_by) as writer:
                for record in found.values():
                    writer.append(record)
        return arguments


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    def world(ids: tuple[str, ...] = ("a", "b"), classes: tuple[str, ...] = ("cat", "dog")) -> World:
        return World(tmp_path, list(ids), list(classes))

    return world


def build(arguments: dict[str, Any], **changed: Any) -> GalleryPage:
    build_gallery(**{**arguments, **changed})
    return GalleryPage(arguments["output"])


def drawn(*rectangles: tuple[int, int, int, int]) -> np.ndarray:
    found = np.zeros((len(rectangles), HEIGHT, WIDTH), bool)
    for mask, (y0, y1, x0, x1) in zip(found, rectangles, strict=True):
        mask[y0:y1, x0:x1] = True
    return found


def test_a_row_has_a_layer_for_every_stage(world) -> None:
    page = build(world(("a",)).write())
    assert page.titles() == [
        "proposals", "PRM, tagged: cat", "PRM, predicted: dog", "AGPL labels", "predictions", "ground truth",
    ]  # fmt: skip
    found = page.layer("predictions")
    np.testing.assert_array_equal(masks(found), drawn(LEFT, RIGHT))
    first, second = found["regions"]
    assert (first["c"], first["s"], first["area"], first["iou"], first["kind"], first["of"]) == (
        0,
        0.9,
        216,
        1.0,
        "right",
        0,
    )
    assert (second["c"], second["kind"], second["iou"]) == (1, "background", 0.0)
    assert (page.layer("proposals")["notes"], len(page.layer("proposals")["regions"])) == (
        ["3 proposals", "the best 2 are shown"], 2,
    )  # fmt: skip
    (labels,) = page.layer("AGPL labels")["regions"]
    assert (labels["c"], labels["note"], page.layer("AGPL labels")["notes"]) == (
        0, "1 proposal", ["background 1, ignored 1"],
    )  # fmt: skip
    (truth,) = page.layer("ground truth")["regions"]
    assert (truth["iou"], truth["note"]) == (1.0, "best proposal 1.00")
    cue = page.layer("PRM, tagged: cat")
    assert (cue["h"], cue["w"], cue["points"]) == (2, 2, [[round(6.5 / WIDTH, 4), round(10.5 / HEIGHT, 4), 0]])


def test_a_cluster_is_what_half_of_its_proposals_hold(world) -> None:
    toy = world(("a",))
    held = [LEFT, (2, 20, 2, 8), RIGHT]
    toy.proposals["a"] = Proposals(image="a", **regions_of(*held), scores=np.ones(3, np.float32))
    toy.labels["a"] = ClusterLabels(
        image="a", clusters=np.array([1, 1, 1], np.int32), cluster_classes=np.array([1, 1, 1], np.int32)
    )
    found = build(toy.write()).layer("AGPL labels")
    np.testing.assert_array_equal(masks(found), drawn((2, 20, 2, 8)))  # of two of three; LEFT's rest has one
    assert found["regions"][0]["note"] == "3 proposals"


def test_masks_go_to_the_page_at_its_size_and_areas_at_the_images(world) -> None:
    smaller = SETTINGS.model_copy(update={"longer_side": WIDTH // 2})
    found = build(world(("a",)).write(), settings=smaller).layer("predictions")
    assert (found["h"], found["w"], found["regions"][0]["area"]) == (HEIGHT // 2, WIDTH // 2, 216)
    assert masks(found)[0].sum() == 216 // 4


def test_a_row_says_what_it_is_found_and_sorted_by(world) -> None:
    toy = world(("a",))
    toy.instances["a"] = toy.predicted("a", [LEFT, LEFT, RIGHT], [0, 0, 1], [0.9, 0.5, 0.2])
    toy.ground_truth["a"] = toy.annotated("a", [LEFT, RIGHT], [0, 0])
    toy.retrained = {"a": toy.predicted("a", [RIGHT], [1], [0.75])}
    wide = SETTINGS.model_copy(update={"predictions": 5})
    page = build(toy.write(), settings=wide)
    (row,) = page.rows
    kinds = [kind["name"] for kind in page.head["kinds"]]
    assert [(one[0], one[1], kinds[one[2]], one[3]) for one in row["p"]] == [
        (0, 0.9, "right", 1.0), (0, 0.5, "duplicate", 1.0), (1, 0.2, "class", 1.0),
    ]  # fmt: skip
    assert row["g"] == [[0, 1.0, 1, round(216 / 768, 5)], [0, 0.0, 0, round(168 / 768, 5)]]
    assert (row["missed"], row["duplicates"], row["ap"]) == (1, 1, 50.0)
    assert (row["t"], row["state"], row["h"], row["w"]) == ([0], "tagged", HEIGHT, WIDTH)
    # Of the predictions from .3 on two are LEFT, one is RIGHT: nothing in common.
    assert (page.head["beside"], row["change"]) == (["cim/mask_rcnn"], [1.0])


def test_the_ap_of_an_image_is_the_area_below_the_envelope(world) -> None:
    toy = world(("a",))
    wrong = (0, 3, 0, 3)
    toy.instances["a"] = toy.predicted("a", [wrong, LEFT, RIGHT], [0, 0, 0], [0.9, 0.8, 0.7])
    toy.ground_truth["a"] = toy.annotated("a", [LEFT, RIGHT, (0, 1, 0, 1)], [0, 0, 0])
    assert build(toy.write()).rows[0]["ap"] == pytest.approx(100 * (2 / 3 + 2 / 3) / 3, abs=0.1)


def test_predictions_of_several_runs_stand_side_by_side(world, tmp_path: Path) -> None:
    toy = world(("a", "b"))
    own = toy.write()
    paths = {path.name: path for path in own["artifacts"]}
    other = tmp_path / "other.h5"
    header = {
        "classes": toy.classes,
        "category_ids": [1, 1],
        "run": "bestie",
        "method": "bestie",
        "supervision": "points",
    }
    with create(other, Instances, header=header, provenance=Provenance("test", None, None, {})) as writer:
        for image in toy.instances:
            writer.append(toy.predicted(image, [LEFT], [0], [0.8]))
    page = build(own, artifacts=[paths["instances.h5"], other])
    assert page.titles() == ["cim", "bestie", "ground truth"]
    assert (page.head["run"], page.head["supervision"], page.head["joint"]) == (
        "cim, bestie",
        "image tags, points",
        True,
    )
    assert (page.head["beside"], page.rows[0]["change"]) == (["bestie"], [0.0])  # RIGHT is below the threshold
    with pytest.raises(ValueError, match=r"other\.h5 is of run 'bestie', the predictions are of 'cim'"):
        build(own, artifacts=[paths["proposals.h5"], paths["instances.h5"], other])


def test_the_page_loads_its_own_files_alone(world) -> None:
    page = build(world().write())
    assert page.addresses == []
    assert not {"link", "iframe", "img"} & set(page.names)
    files = sorted(path.relative_to(page.path.parent).as_posix() for path in (page.path.parent / "data").rglob("*.*"))
    assert files == ["data/000/000000.jpg", "data/000/000000.js", "data/000/000001.jpg", "data/000/000001.js"]
    assert "http:" not in page.source and "https:" not in page.source


def test_a_single_file_holds_everything(world) -> None:
    page = build(world().write(), settings=SETTINGS.model_copy(update={"single_file": True}))
    assert list((page.path.parent / "data").iterdir()) == []
    assert page.titles(1)[-1] == "ground truth"
    assert page.image(1)["picture"] and page.image(1)["thumbnail"]


def test_what_was_there_before_is_removed(world) -> None:
    arguments = world(("a", "b")).write()
    build(arguments)
    one = SETTINGS.model_copy(update={"images": 1})
    page = build(arguments, settings=one)
    assert [path.name for path in sorted((page.path.parent / "data" / "000").iterdir())] == ["000000.jpg", "000000.js"]
    assert "1 of the 2 images are not on this page" in page.text


def test_header_names_run_supervision_and_the_preset_of_every_number(world, tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", METRICS)
    page = build(world().write(), metrics=tmp_path / "metrics.json")
    for words in (
        "supervision image tags",
        "heg (label-free)",
        "preset voc mAP50 41.3",
        "boxes AP50 (voc07) 30.5 AP50 (voc12) 31.5 CorLoc -",
        "painted into one map mIoU 60.5",
        "preset coco AP -",
        "ABO 50.0",
    ):
        assert words in page.text


def test_hostile_names_are_text(world) -> None:
    plain = build(world(("a",)).write()).names.count("script")
    evil = "</script><script>alert('x')</script>\"><img src=http://evil>\n ü"
    page = build(world((evil,), (evil, "{{ 7*7 }}")).write())
    assert page.names.count("script") == plain
    assert "img" not in page.names
    assert page.rows[0]["id"] == evil
    assert page.head["classes"] == [evil, "{{ 7*7 }}"]
    assert evil not in page.source
    assert "{{ 7*7 }}" in page.text


def test_the_same_artifacts_give_the_same_files(world) -> None:
    arguments = world().write()
    build(arguments)
    files = [arguments["output"], *arguments["output_data"].rglob("*.*")]
    first = [path.read_bytes() for path in files]
    build(arguments)
    assert [path.read_bytes() for path in files] == first


def test_images_without_anything_are_shown_too(world) -> None:
    toy = world(("a",))
    toy.proposals["a"] = Proposals(image="a", **regions_of(), scores=np.zeros(0, np.float32))
    toy.labels["a"] = ClusterLabels(image="a", clusters=np.zeros(0, np.int32), cluster_classes=np.zeros(0, np.int32))
    toy.instances["a"] = toy.predicted("a", [], [], [])
    toy.ground_truth["a"] = toy.annotated("a", [], [])
    page = build(toy.write())
    assert page.layer("proposals")["notes"][0] == "0 proposals"
    assert all(not layer["regions"] for layer in page.layers() if layer["type"] == "regions")
    assert page.layer("ground truth")["notes"] == ["no instance"]
    assert (page.rows[0]["p"], page.rows[0]["g"], page.rows[0]["ap"], page.rows[0]["missed"]) == ([], [], None, 0)


def test_unknown_masks_and_methods_without_labels_have_no_layer(world) -> None:
    toy = world(("a",))
    toy.labels = None
    toy.ground_truth["a"] = toy.annotated("a", [], [], known=False, shape=(1, 1))
    page = build(toy.write())
    assert page.titles() == ["proposals", "PRM, tagged: cat", "PRM, predicted: dog", "predictions"]
    assert "kind" not in page.layer("predictions")["regions"][0]
    assert (page.rows[0]["g"], page.rows[0]["missed"], page.rows[0]["p"][0][2]) == (None, None, -1)
    assert page.head["measured_images"] is False
    assert "AGPL" not in page.text


def test_a_retrained_run_has_a_layer_of_mask_rcnn_beside_its_predictions(world) -> None:
    toy = world(("a",))
    toy.retrained = {"a": toy.predicted("a", [RIGHT], [1], [0.75])}
    page = build(toy.write())
    assert page.titles()[-3:] == ["predictions", "predictions, mask_rcnn", "ground truth"]
    assert "trained on the run's own masks" in page.text
    assert "mask_rcnn" not in as_text(build(world(("a",)).write()).layers())


def test_artifacts_without_a_panel_and_pages_without_predictions_are_refused(world) -> None:
    arguments = world(("a",)).write()
    with pytest.raises(ValueError, match=r"images\.h5 is an artifact of kind 'images', of which there is no panel"):
        build(arguments, artifacts=[*arguments["artifacts"], arguments["images"]])
    with pytest.raises(ValueError, match="no predictions are given"):
        build(arguments, artifacts=[path for path in arguments["artifacts"] if path.name != "instances.h5"])


def test_labels_of_proposals_need_the_proposals(world) -> None:
    toy = world(("a",))
    toy.proposals = None
    with pytest.raises(ValueError, match="cluster labels, but no proposals are given"):
        build(toy.write())


def test_retrained_predictions_of_other_images_or_sizes_are_refused(world) -> None:
    toy = world(("a", "b"))
    toy.retrained = {"a": toy.instances["a"]}
    with pytest.raises(ValueError, match=r"retrained\.h5 lacks 1 of the 2 images"):
        build(toy.write())


def test_points_are_shown_without_maps(world) -> None:
    toy = world(("a",))
    toy.cues["a"] = Cues(
        image="a", responses=np.zeros((2, 0, 0), np.float32), class_scores=np.ones(2, np.float32),
        peaks=np.array([[10, 6]], np.int32), peak_classes=np.zeros(1, np.int32), peak_scores=np.ones(1, np.float32),
    )  # fmt: skip
    page = build(toy.write(cues={"head": "points"}))
    found = page.layer("points, tagged: cat")
    assert (found["notes"], found["empty"], len(found["points"])) == (["1 point"], True, 1)
    assert "PRM, predicted: dog" not in page.titles()


def test_worst_images_come_first(world) -> None:
    toy = world(("good", "bad", "unknown"))
    toy.instances["bad"] = toy.predicted("bad", [RIGHT], [0], [0.9])
    toy.ground_truth["unknown"] = toy.annotated("unknown", [], [], known=False)
    worst = SETTINGS.model_copy(update={"choice": "worst"})
    two = worst.model_copy(update={"images": 2})
    assert [row["id"] for row in build(toy.write(), settings=two).rows] == ["bad", "good"]
    assert [row["id"] for row in build(toy.write(), settings=worst).rows] == ["good", "bad", "unknown"]


@pytest.mark.parametrize(
    ("artifact", "message"),
    [("instances", r"instances\.h5 lacks 1 of the 2 images"), ("cues", r"cues\.h5 lacks 1 of the 2 images")],
)
def test_a_missing_image_is_named(world, artifact: str, message: str) -> None:
    toy = world()
    del getattr(toy, artifact)["b"]
    with pytest.raises(ValueError, match=message):
        build(toy.write())


def test_other_classes_are_named(world) -> None:
    with pytest.raises(ValueError, match=r"instances\.h5 has the classes \['dog', 'cat'\]"):
        build(world().write(instances={"classes": ["dog", "cat"]}))


def test_labels_of_other_proposals_are_refused(world) -> None:
    toy = world(("a",))
    toy.proposals["a"] = Proposals(image="a", **regions_of(LEFT), scores=np.ones(1, np.float32))
    with pytest.raises(ValueError, match="image 'a': 3 cluster labels for 1 proposals"):
        build(toy.write())


def test_masks_of_another_size_are_refused(world) -> None:
    toy = world(("a",))
    toy.ground_truth["a"] = toy.annotated("a", [], [], shape=(5, 5))
    with pytest.raises(ValueError, match="'a' has 24x32 pixels, its ground_truth have 5x5"):
        build(toy.write())


def test_metrics_of_another_run_are_refused_and_no_page_is_written(world, tmp_path: Path) -> None:
    write_json(tmp_path / "metrics.json", METRICS | {"run": "prm"})
    arguments = world().write()
    with pytest.raises(ValueError, match=r"\('prm', 'val'\), the predictions are of \('cim', 'val'\)"):
        build(arguments, metrics=tmp_path / "metrics.json")
    assert not arguments["output"].exists()


@pytest.mark.parametrize(
    ("count", "wanted", "expected"),
    [(10, 4, [0, 3, 6, 9]), (3, 5, [0, 1, 2]), (5, 1, [0]), (0, 4, []), (100, 2, [0, 99])],
)
def test_images_are_spread_evenly(count: int, wanted: int, expected: list[int]) -> None:
    assert evenly(count, wanted).tolist() == expected


def test_quality_orders_without_the_unknown() -> None:
    quality = [0.5, float("nan"), 0.1, 0.5, 0.9]
    assert by_quality(quality, 3, best=False).tolist() == [2, 0, 3]
    assert by_quality(quality, 3, best=True).tolist() == [4, 0, 3]


def test_quality_is_the_mean_best_overlap_with_the_same_class(world) -> None:
    toy = world(("a",))
    ground_truth = toy.annotated("a", [LEFT, RIGHT], [0, 1])
    assert prediction_quality(toy.predicted("a", [LEFT, RIGHT], [0, 0], [0.9, 0.8]), ground_truth) == pytest.approx(0.5)
    assert np.isnan(prediction_quality(toy.instances["a"], toy.annotated("a", [], [])))


def test_points_land_on_the_same_place_of_a_smaller_image() -> None:
    points = np.array([[0, 0], [99, 199], [50, 100]])
    assert scaled_points(points, (100, 200), (10, 20)).tolist() == [[0, 0], [9, 19], [5, 10]]
