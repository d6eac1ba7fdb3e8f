"""Tiles of large images: their pixels, annotations, points, and what is known of their tags."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from stages.core.images.loading import load_rgb
from stages.images.list_images import open_data_set
from stages.images.tiling import Latest, Tiles
from stages.ops.windows import Window, WindowedMask, tiles

CLASSES = ["cat", "dog"]
HEIGHT, WIDTH = 200, 300
TILING = {"size": 128, "overlap": 32, "min_share": 0.25}


@pytest.fixture
def photograph(tmp_path: Path) -> np.ndarray:
    """One image `a` of noise in the folder `images`."""
    rgb = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    (tmp_path / "images").mkdir()
    Image.fromarray(rgb).save(tmp_path / "images" / "a.png")
    return rgb


def boxes(*corners: tuple[int, int, int, int]) -> np.ndarray:
    """A map of ids 1, 2, ... of boxes (y0, x0, y1, x1)."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    for i, (y0, x0, y1, x1) in enumerate(corners, start=1):
        ids[y0:y1, x0:x1] = i
    return ids


def folder(root: Path, tags: str | None, ids: np.ndarray | None = None, classes: str = "", **files: Any) -> dict:
    """Splits of the image, its tags and its masks, whose classes are letters of c(at) and d(og)."""
    entry: dict[str, Any] = {"images": str(root / "images"), "tags": None, "masks": None, "points": None} | files
    if tags is not None:
        (root / "tags.csv").write_text(f"image,tags\na,{tags}\n")
        entry["tags"] = str(root / "tags.csv")
    if ids is not None:
        (root / "masks").mkdir()
        Image.fromarray(ids).save(root / "masks" / "a.png")
        rows = "".join(f"a,{i},{dict(c='cat', d='dog')[c]}\n" for i, c in enumerate(classes, start=1))
        (root / "masks" / "instances.csv").write_text(f"image,instance,class\n{rows}")
        entry["masks"] = str(root / "masks")
    return {"classes": CLASSES, "splits": {"train": entry}, "tiling": TILING}


def known(images: Any) -> dict[str, list[str] | None]:
    """Tags of each tile; None: nobody knows."""
    return {
        record.image: [CLASSES[k] for k in np.flatnonzero(record.tags)] if record.looked_at else None
        for record in images
    }


def test_tiles_cover_the_image_and_what_is_smaller_than_the_overlap_lies_in_one() -> None:
    windows = tiles(HEIGHT, WIDTH, size=128, overlap=32)
    assert [(w.y, w.x) for w in windows] == [(y, x) for y in (0, 72) for x in (0, 96, 172)]
    assert {(w.height, w.width) for w in windows} == {(128, 128)}
    for y in range(0, HEIGHT - 32 + 1, 8):
        for x in range(0, WIDTH - 32 + 1, 4):
            small = Window(y, x, 32, 32)
            assert any(small.common(window) == small for window in windows)
    assert tiles(40, 300, size=128, overlap=0)[-1] == Window(0, 172, 40, 128)
    assert tiles(128, 128, size=128, overlap=32) == [Window(0, 0, 128, 128)]


def test_a_tile_has_the_pixels_of_its_place(tmp_path: Path, photograph: np.ndarray, listing: Any) -> None:
    with listing("folder", split="train.tiles", **folder(tmp_path, None)) as made:
        assert made.images.ids == [f"a@{y}_{x}" for y in (0, 72) for x in (0, 96, 172)]
        assert made.images.header["kind"] == "tiles"
        for record in made.images:
            y, x = record.offset
            np.testing.assert_array_equal(load_rgb(record, made.images.header["root"]), photograph[y:, x:][:128, :128])


def test_the_whole_split_stays_as_it_is(tmp_path: Path, photograph: np.ndarray, listing: Any, settings_of: Any) -> None:
    keys = folder(tmp_path, "cat")
    with listing("folder", **keys) as made:
        assert made.images.ids == ["a"]
        assert not made.images.has("offset")
        assert (made.images[0].height, made.images[0].width, made.images[0].path) == (HEIGHT, WIDTH, "a.png")
    whole = settings_of("folder", **keys).chosen("train").canonical()
    for other in ({"size": None}, {"size": 64}, {"min_share": 0.5}):
        assert settings_of("folder", **keys | {"tiling": TILING | other}).chosen("train").canonical() == whole


def test_an_image_smaller_than_a_tile_is_its_only_tile(tmp_path: Path, photograph: np.ndarray, listing: Any) -> None:
    keys = folder(tmp_path, "cat", boxes((0, 0, 9, 9)), "c") | {"tiling": TILING | {"size": 1000}}
    with listing("folder", split="train.tiles", **keys) as made:
        assert known(made.images) == {"a@0_0": ["cat"]}
        np.testing.assert_array_equal(load_rgb(made.images[0], ""), photograph)


def test_annotations_are_cut_and_small_rests_are_difficult(tmp_path: Path, photograph: Any, listing: Any) -> None:
    ids = boxes((80, 90, 120, 110), (10, 250, 30, 290))  # the first across six tiles, in the third a sliver
    with listing("folder", split="train.tiles", **folder(tmp_path, "cat;dog", ids, "cd")) as made:
        for record, annotated in zip(made.images, made.ground_truth, strict=True):
            y, x = record.offset
            part = ids[y : y + 128, x : x + 128]
            assert annotated.annotated
            present = [i for i in (1, 2) if (part == i).any()]
            assert annotated.annotation_ids.tolist() == present
            expected = np.array([part == i for i in present], bool).reshape(-1, 128, 128)
            np.testing.assert_array_equal(annotated.regions.masks(), expected)
            least = 0.25 * np.array([(ids == i).sum() for i in present])
            assert annotated.difficult.tolist() == [(part == i).sum() < n for i, n in zip(present, least, strict=True)]


def test_a_tile_is_tagged_with_the_objects_of_which_enough_lies_in_it(
    tmp_path: Path, photograph: Any, listing: Any
) -> None:
    ids = boxes((10, 116, 30, 136), (10, 250, 30, 290))  # the cat: 12 of 20 columns in the first tile
    keys = folder(tmp_path, "cat;dog", ids, "cd")
    with listing("folder", split="train.tiles", **keys) as made:
        assert known(made.images) == {
            "a@0_0": ["cat"], "a@0_96": ["cat"], "a@0_172": ["dog"], "a@72_0": [], "a@72_96": [], "a@72_172": [],
        }  # fmt: skip
        assert made.images.header["negatives"] == 3
    with listing("folder", split="train.tiles", **keys | {"tiling": TILING | {"min_share": 0.7}}) as made:
        assert known(made.images)["a@0_0"] is None  # too little for a tag, too much for nothing
    with listing("folder", split="train.tiles", **keys, untagged="unknown") as made:
        assert known(made.images)["a@72_0"] is None


def test_tags_of_an_image_alone_say_nothing_of_its_tiles_unless_there_are_none(
    tmp_path: Path, photograph: Any, listing: Any
) -> None:
    with listing("folder", split="train.tiles", **folder(tmp_path, "cat")) as made:
        assert set(map(str, known(made.images).values())) == {"None"}
        assert made.images.header["unknown"] == 6
    with listing("folder", split="train.tiles", **folder(tmp_path, "")) as made:
        assert set(map(str, known(made.images).values())) == {"[]"}
    with listing("folder", split="train.tiles", **folder(tmp_path, None)) as made:
        assert made.images.header["unknown"] == 6


def test_masks_that_lack_a_tagged_class_make_no_negatives(tmp_path: Path, photograph: Any, listing: Any) -> None:
    with listing("folder", split="train.tiles", **folder(tmp_path, "cat;dog", boxes((0, 0, 9, 9)), "c")) as made:
        assert known(made.images) == {name: ["cat"] if name == "a@0_0" else None for name in made.images.ids}


def test_masks_without_tags_give_no_tags(tmp_path: Path, photograph: Any, listing: Any) -> None:
    """Masks of own images serve evaluation; what is trained on is what the user has tagged."""
    with listing("folder", split="train.tiles", **folder(tmp_path, None, boxes((0, 0, 9, 9)), "c")) as made:
        assert made.images.header["unknown"] == 6


def test_points_of_the_image_lie_in_the_tiles_that_have_them(tmp_path: Path, photograph: Any, listing: Any) -> None:
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "a.txt").write_text("100 10 0 1\n299 199 1 1\n")
    with listing("folder", split="train.tiles", **folder(tmp_path, "cat;dog", points=str(tmp_path / "points"))) as made:
        found = {record.image: (record.points.tolist(), record.classes.tolist()) for record in made.points}
    assert found == {
        "a@0_0": ([[10, 100]], [0]), "a@0_96": ([[10, 4]], [0]), "a@0_172": ([], []),
        "a@72_0": ([], []), "a@72_96": ([], []), "a@72_172": ([[127, 127]], [1]),
    }  # fmt: skip


def coco(root: Path, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    """A COCO data set of the image, with categories 3 cat and 7 dog."""
    categories = [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}]
    images = [{"id": 5, "file_name": "a.png", "height": HEIGHT, "width": WIDTH}]
    whole = [{"id": i, "image_id": 5, "iscrowd": 0, **entry} for i, entry in enumerate(annotations, start=1)]
    (root / "a.json").write_text(json.dumps({"images": images, "categories": categories, "annotations": whole}))
    return {"root": root, "splits": {"train": {"images": "images", "annotations": "a.json"}}, "tiling": TILING}


def test_tiles_of_coco_have_its_polygons_and_tags(tmp_path: Path, photograph: Any, listing: Any) -> None:
    corners = [100, 60, 200, 60, 200, 110, 100, 110]
    keys = coco(tmp_path, [{"category_id": 7, "segmentation": [corners], "bbox": [100, 60, 100, 50], "area": 5000}])
    with listing("coco", split="train.tiles", **keys) as made, listing("coco", **keys) as whole:
        mask = whole.ground_truth[0].regions.masks()[0]
        assert mask.sum() == 5000
        for record, annotated in zip(made.images, made.ground_truth, strict=True):
            y, x = record.offset
            part = mask[y : y + 128, x : x + 128]
            np.testing.assert_array_equal(annotated.regions.masks(), part[None][: int(part.any())])
            assert record.tags.tolist() == [False, part.sum() >= 1250]
        assert made.images.header["category_ids"] == [3, 7]


@pytest.mark.parametrize(
    ("tiling", "message"),
    [
        ({"overlap": 128}, r"overlap 128 is not below size 128; tiles must differ"),
        ({"overlap": -1}, r"greater than or equal to 0"),
        ({"size": 8}, r"greater than or equal to 32"),
        ({"size": 64.5}, r"valid integer"),
        ({"min_share": 0.0}, r"greater than 0"),
        ({"min_share": 1.5}, r"less than or equal to 1"),
        ({"sizes": 1}, r"Extra inputs"),
    ],
)
def test_tilings_that_cannot_be_are_refused(tiling: dict, message: str, settings_of: Callable[..., Any]) -> None:
    entry = {"images": "images", "tags": None, "masks": None, "points": None}
    with pytest.raises(ValidationError, match=message):
        settings_of("folder", classes=CLASSES, splits={"train": entry}, tiling=TILING | tiling)


def test_a_split_must_not_have_the_name_of_tiles(settings_of: Callable[..., Any]) -> None:
    entry = {"images": "images", "tags": None, "masks": None, "points": None}
    keys = {"classes": CLASSES, "splits": {"a": entry, "a.tiles": entry}}
    with pytest.raises(ValidationError, match=r"folder\.splits has 'a\.tiles', the tiles of 'a'; rename it"):
        settings_of("folder", **keys, tiling=TILING)
    assert settings_of("folder", **keys).splits == ["a", "a.tiles"]  # nothing is cut


def test_an_image_that_cannot_be_read_is_named_and_nothing_is_written(
    tmp_path: Path, photograph: Any, refused: Any
) -> None:
    file = tmp_path / "images" / "a.png"
    whole = file.read_bytes()
    file.write_bytes(b"")
    refused(
        r"1 of 1 images cannot be used:\n.*a\.png cannot be decoded", "folder", "train.tiles", **folder(tmp_path, None)
    )
    file.write_bytes(whole)
    Image.open(file).save(tmp_path / "images" / "b.jpg")
    jpeg = (tmp_path / "images" / "b.jpg").read_bytes()
    (tmp_path / "images" / "b.jpg").write_bytes(jpeg[: len(jpeg) // 2])  # the header can be read
    message = refused(r"6 of 12 images cannot be used", "folder", "train.tiles", **folder(tmp_path, None))
    assert message.count("b.jpg cannot be decoded") == 1


def test_images_above_the_limit_are_refused_and_the_limit_is_a_setting(
    tmp_path: Path, photograph: Any, refused: Any, listing: Any
) -> None:
    message = r"a\.png is larger than the 59999 pixels .*raise images\.max_pixels"
    for split in ("train", "train.tiles"):
        refused(message, "folder", split, **folder(tmp_path, None), max_pixels=59_999)
    with listing("folder", **folder(tmp_path, None), max_pixels=60_000) as made:
        assert len(made.images) == 1


def test_what_was_listed_is_loaded_whatever_pillow_takes_for_a_bomb(
    tmp_path: Path, photograph: Any, listing: Any, monkeypatch: Any
) -> None:
    with listing("folder", **folder(tmp_path, None)) as made:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20_000)
        np.testing.assert_array_equal(load_rgb(made.images[0], made.images.header["root"]), photograph)


def test_an_image_is_decoded_once_for_all_its_tiles(
    tmp_path: Path, photograph: Any, settings_of: Any, monkeypatch: Any
) -> None:
    decoded = []
    monkeypatch.setattr("stages.images.tiling.decode_rgb", lambda data, name: decoded.append(name) or photograph)
    settings = settings_of("folder", **folder(tmp_path, None)).chosen("train.tiles")
    data = open_data_set(settings, "train.tiles", 1)
    assert isinstance(data, Tiles)
    assert len({data.embedded(tile) for tile in data.images}) == 6
    assert len(decoded) == 1
    latest = Latest(str.upper)
    assert [latest(name) for name in ("a", "b", "a")] == ["A", "B", "A"]


def test_a_mask_in_its_window_is_the_mask() -> None:
    for mask in (boxes((5, 7, 9, 200)) > 0, boxes() > 0, np.ones((HEIGHT, WIDTH), bool)):
        small = WindowedMask.of(mask)
        assert small.area == mask.sum()
        np.testing.assert_array_equal(small.full(HEIGHT, WIDTH), mask)
        window = Window(4, 100, 30, 50)
        np.testing.assert_array_equal(small.cut(window).full(30, 50), mask[4:34, 100:150])


def test_the_tiles_of_a_sample_are_those_of_its_images(tmp_path: Path, photograph: np.ndarray, listing: Any) -> None:
    """The sample is of whole images, so that all tiles of one are there to be merged."""
    for name in "bcde":
        Image.fromarray(photograph).save(tmp_path / "images" / f"{name}.png")
    options = folder(tmp_path, tags="cat") | {"sample": {"count": 2, "seed": 1}}
    (tmp_path / "tags.csv").write_text("image,tags\n" + "".join(f"{name},cat\n" for name in "abcde"))
    with listing("folder", split="train", **options) as whole:
        images = whole.images.ids
    with listing("folder", split="train.tiles", **options) as cut:
        found = cut.images.ids
    assert len(images) == 2
    assert [tile.split("@")[0] for tile in found] == [image for image in images for _ in range(6)]
