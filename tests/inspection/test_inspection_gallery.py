"""The gallery from artifacts to a page."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
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
from stages.inspection.choice import by_quality, evenly, prediction_quality
from stages.inspection.panels import scaled_points
from stages.inspection.settings import GallerySettings
from stages.ops.regions import Regions

HEIGHT, WIDTH = 24, 32
SETTINGS = GallerySettings(
    images=3, choice="even", longer_side=64, jpeg_quality=80, opacity=0.5, proposals=2, responses=2, predictions=2,
    score_threshold=0.3,
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


class Page(HTMLParser):
    """What a browser would see: text, image sources, and names of elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.images: list[str] = []
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.titles = re.findall(r"<figcaption><b>(.*?)</b>", text)
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.images += [value or "" for key, value in attrs if tag == "img" and key == "src"]
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.fixture
def world(tmp_path: Path) -> Callable[..., World]:
    def world(ids: tuple[str, ...] = ("a", "b"), classes: tuple[str, ...] = ("cat", "dog")) -> World:
        return World(tmp_path, list(ids), list(classes))

    return world


def build(arguments: dict[str, Any], **changed: Any) -> Page:
    build_gallery(**{**arguments, **changed})
    return Page(arguments["output"].read_text())


def test_a_row_shows_every_stage_with_captions(world) -> None:
    page = build(world(("a",)).write())
    panels = [
        "image",
        "proposals",
        "PRM, tagged: cat",
        "PRM, predicted: dog",
        "AGPL labels",
        "predictions",
        "ground truth",
    ]
    assert page.titles == panels
    assert len(page.images) == 7
    assert "1 cat 0.90 (IoU 1.00)" in page.text
    assert "1 weaker not painted" in page.text
    assert "1 cat: proposal 1.00, found 1.00" in page.text
    assert "1 cat: 1 proposal background 1, ignored 1" in page.text


def test_the_page_holds_all_it_shows_and_asks_for_nothing(world) -> None:
    page = build(world().write())
    assert page.addresses and all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not {"script", "link", "iframe"} & set(page.names)


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
    evil = "<script>alert('x')</script>\"><img src=http://evil>"
    page = build(world((evil,), (evil, "{{ 7*7 }}")).write())
    assert "script" not in page.names
    assert evil in page.text
    assert "{{ 7*7 }}" in page.text
    assert all(address.startswith("data:") for address in page.addresses)


def test_the_same_artifacts_give_the_same_page(world) -> None:
    arguments = world().write()
    build(arguments)
    first = arguments["output"].read_bytes()
    build(arguments)
    assert arguments["output"].read_bytes() == first


def test_images_without_anything_are_shown_too(world) -> None:
    toy = world(("a",))
    toy.proposals["a"] = Proposals(image="a", **regions_of(), scores=np.zeros(0, np.float32))
    toy.labels["a"] = ClusterLabels(image="a", clusters=np.zeros(0, np.int32), cluster_classes=np.zeros(0, np.int32))
    toy.instances["a"] = toy.predicted("a", [], [], [])
    toy.ground_truth["a"] = toy.annotated("a", [], [])
    page = build(toy.write())
    assert "0 proposals" in page.text
    assert "predictions none" in page.text
    assert "ground truth no instance" in page.text


def test_unknown_masks_and_methods_without_labels_have_no_panel(world) -> None:
    toy = world(("a",))
    toy.labels = None
    toy.ground_truth["a"] = toy.annotated("a", [], [], known=False, shape=(1, 1))
    page = build(toy.write())
    assert len(page.images) == 5
    assert "AGPL" not in page.text
    assert "(IoU" not in page.text


def test_a_retrained_run_has_a_panel_of_mask_rcnn_beside_its_predictions(world) -> None:
    toy = world(("a",))
    toy.retrained = {"a": toy.predicted("a", [RIGHT], [1], [0.75])}
    page = build(toy.write())
    assert len(page.images) == 8
    assert page.titles[-3:] == ["predictions", "predictions, mask_rcnn", "ground truth"]
    assert "1 dog 0.75 (IoU 0.00)" in page.text
    assert "trained on the run's own masks" in page.text
    assert "mask_rcnn" not in build(world(("a",)).write()).text


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
    assert "points, tagged: cat 1 point" in page.text
    assert "predicted: dog" not in page.text


def test_worst_images_come_first(world) -> None:
    toy = world(("good", "bad", "unknown"))
    toy.instances["bad"] = toy.predicted("bad", [RIGHT], [0], [0.9])
    toy.ground_truth["unknown"] = toy.annotated("unknown", [], [], known=False)
    worst = SETTINGS.model_copy(update={"choice": "worst"})
    text = build(toy.write(), settings=worst).text
    assert 0 < text.rindex("bad cat") < text.rindex("good cat")
    assert "unknown cat" not in text


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
