"""Data as people have them, read through the configuration and the steps as the graph reads them.

Each case is an input that was once read wrong in silence, crashed a step, or stopped with a message that names another
cause. The forms of each kind are tested beside their readers, in tests/images and tests/proposals.
"""

import json
import logging
import os
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create, read
from stages.evaluation.evaluate_instances import evaluate_instances
from stages.images.list_boxes import list_boxes
from stages.images.list_images import list_images
from stages.ops.regions import Regions
from stages.project.project import load_files
from stages.proposals.import_proposals import import_proposals
from tests.pipeline.conftest import ROOT, snakemake

SIZE = (48, 64)
BOX = (6, 4, 20, 20)  # x, y, width, height of the square in every image
SQUARE = np.zeros(SIZE, bool)
SQUARE[4:24, 6:26] = True
OUTLINE = [6, 4, 26, 4, 26, 24, 6, 24]
VOC = ("<annotation{}>", "<object><name>{}</name><difficult>0</difficult><bndbox><xmin>7</xmin><ymin>5</ymin>"
       "<xmax>26</xmax><ymax>24</ymax></bndbox></object></annotation>")  # fmt: skip


class Case:
    """A folder of files and what the steps make of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.images = folder, folder / "images"
        self.images.mkdir()

    def draw(self, *names: str, **options) -> None:
        for name in names:
            path = self.images / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(SQUARE, 200, 60).astype(np.uint8)).convert("RGB").save(path, **options)

    def write(self, name: str, content) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        data = content if isinstance(content, str | bytes) else json.dumps(content)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    def coco(self, name: str, files, annotations, categories=("square", "disc"), ids=(1, 2)) -> None:
        images = [{"id": i, "file_name": file, "height": 48, "width": 64} for i, file in enumerate(files, start=1)]
        named = [{"id": i, "name": text} for i, text in zip(ids, categories, strict=True)]
        self.write(name, {"images": images, "annotations": annotations, "categories": named})

    def project(self, images, **sections):
        known = {"name": "case"} | images
        overlay = self.write("overlay.yaml", yaml.safe_dump({"images": known} | sections))
        return load_files(ROOT / "config.yaml", overlay)

    def of_folder(self, tags="tags.csv", masks=None, classes=("square", "disc"), **sections):
        files = {"images": str(self.images), "tags": tags and str(self.folder / tags)}
        files["masks"] = masks and str(self.folder / masks)
        folder = {"splits": {"train": files, "val": files}}
        return self.project({"kind": "folder", "classes": list(classes), "folder": folder}, **sections)

    def of_coco(self, train="train.json", val="train.json", images="images", **sections):
        files = {name: {"images": images, "annotations": path} for name, path in (("train", train), ("val", val))}
        return self.project({"kind": "coco", "coco": {"root": str(self.folder), "splits": files}}, **sections)

    def of_voc(self):
        return self.project({"kind": "voc", "classes": ["cat", "dog"], "voc": {"root": str(self.folder / "VOC2012")}})

    def listed(self, project, split="train"):
        """Images of a split, with the areas of their masks; None where these are not known."""
        paths = {name: self.folder / split / f"{name}.h5" for name in ("images", "ground_truth", "points")}
        list_images(
            settings=project.images.chosen(split, project.splits.train), split=split, threads=1,
            **{f"output_{name}": path for name, path in paths.items()},
        )  # fmt: skip
        with read(paths["images"], ImageRecord) as images, read(paths["ground_truth"], GroundTruth) as known:
            self.header = images.header
            tags = {record.image: [images.header["classes"][i] for i in record.tags.nonzero()[0]] for record in images}
            areas = {r.image: r.regions.areas().tolist() if r.annotated else None for r in known}
        return tags, areas

    def proposed(self, project):
        """Boxes of the proposals of each image."""
        self.listed(project)
        output = self.folder / "train" / "own.h5"
        import_proposals(
            images=self.folder / "train" / "images.h5", output=output, settings=project.proposals["own"], source="own",
            shard="1-of-1",
        )  # fmt: skip
        with read(output, Proposals) as proposals:
            return {record.image: record.regions.boxes().tolist() for record in proposals}


def own(case, path="proposals.json"):
    source = {"kind": "coco_json", "path": str(case.folder / path), "prefixes": [""], "count": 50}
    return {
        "proposals": {"own": source | {"supervision": "class-agnostic masks"}},
        "runs": {"cim": {"proposals": "own"}},
    }


def annotation(number, image, segmentation, category=1, **more):
    return {"id": number, "image_id": image, "category_id": category, "segmentation": segmentation, "bbox": list(BOX),
            "area": 400, "iscrowd": 0} | more  # fmt: skip


@pytest.fixture
def case(tmp_path, caplog):
    caplog.set_level(logging.INFO)
    return Case(tmp_path)


def test_annotations_without_ids(case, caplog):
    case.draw("a.jpg", "b.jpg")
    entries = [annotation(None, image, [OUTLINE]) for image in (1, 2)]
    for entry in entries:
        del entry["id"]
    case.coco("train.json", ["a.jpg", "b.jpg"], entries)
    assert list(case.listed(case.of_coco())[1].values()) == [[400], [400]]
    assert "annotations lack ids" in caplog.text


def test_a_broken_exif_block(case, caplog):
    case.draw("a.png", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\xff\xff")
    case.write("tags.csv", "image,tags\na.png,square\n")
    assert case.listed(case.of_folder())[0] == {"a": ["square"]}
    assert "EXIF" in caplog.text
    assert "a.png" in caplog.text


def test_class_maps_with_numbers_of_their_own(case):
    voc(case, {"2008_000001": VOC[0].format("") + VOC[1].format("cat")}, category=1)
    with pytest.raises(ValueError, match=r"(?s)2008_000001.*aeroplane.*cat"):
        case.listed(case.of_voc())


def voc(case, files, category=8, encoding="utf-8"):
    root = case.folder / "VOC2012"
    case.images = root / "JPEGImages"
    case.draw(*[f"{name}.jpg" for name in files])
    for name, text in files.items():
        case.write(f"VOC2012/Annotations/{name}.xml", text)
        for kind, value in (("Object", 1), ("Class", category)):
            (root / f"Segmentation{kind}").mkdir(exist_ok=True)
            Image.fromarray((SQUARE * value).astype(np.uint8)).save(root / f"Segmentation{kind}" / f"{name}.png")
    for split in ("train", "val"):
        case.write(f"VOC2012/ImageSets/Segmentation/{split}.txt", "\n".join(files).encode(encoding))


def test_classes_per_split(case):
    case.draw("a.jpg")
    case.coco("train.json", ["a.jpg"], [annotation(1, 1, [OUTLINE])], ("square", "disc"), (1, 2))
    case.coco("val.json", ["a.jpg"], [annotation(1, 1, [OUTLINE], category=2)], ("disc", "square"), (1, 2))
    project = case.of_coco(val="val.json")
    for split, official in (("train", [1, 2]), ("val", [2, 1])):
        assert case.listed(project, split)[0] == {"1": ["square"]}
        assert (case.header["classes"], case.header["category_ids"]) == (["square", "disc"], official)


def test_empty_rows(case):
    case.draw("a.jpg", "b.jpg")
    case.write("tags.csv", "image,tags\na.jpg,square\nb.jpg,disc\n,\n,\n")
    assert case.listed(case.of_folder())[0] == {"a": ["square"], "b": ["disc"]}
    case.write("tags.csv", "image,tags\na.jpg,square\n,disc\n")
    with pytest.raises(ValueError, match=r"tags\.csv line 3"):
        case.listed(case.of_folder())


@pytest.mark.parametrize(("declared", "codec"), [("gb2312", "gb2312"), ("utf8", "utf-8"), ("UTF-16", "utf-16")])
def test_encodings_of_xml(case, declared, codec):
    text = f'<?xml version="1.0" encoding="{declared}"?>' + VOC[0].format(' note="猫"') + VOC[1].format("cat")
    voc(case, {"2008_000001": text.encode(codec)})
    assert case.listed(case.of_voc())[0] == {"2008_000001": ["cat"]}


def test_an_encoding_of_xml_that_does_not_exist(case):
    text = '<?xml version="1.0" encoding="ansi"?>' + VOC[0].format("") + VOC[1].format("cat")
    voc(case, {"2008_000001": text})
    with pytest.raises(ValueError, match=r"(?s)2008_000001\.xml.*ansi"):
        case.listed(case.of_voc())


def test_flat_polygons(case):
    case.draw("a.jpg")
    case.coco("train.json", ["a.jpg"], [annotation(1, 1, OUTLINE)])
    assert case.listed(case.of_coco())[1] == {"1": [400]}


def test_instances_csv_in_another_encoding(case, caplog):
    case.draw("a.jpg")
    case.write("tags.csv", "image,tags\na.jpg,größe\n")
    case.write("masks/instances.csv", "image,instance,class\na.jpg,1,größe\n".encode("cp1252"))
    Image.fromarray(SQUARE.astype(np.uint8)).save(case.folder / "masks" / "a.png")
    assert case.listed(case.of_folder(masks="masks", classes=["größe", "disc"]))[1] == {"a": [400]}
    assert "instances.csv" in caplog.text
    assert "UTF-8" in caplog.text


def test_linked_folders(case):
    case.draw("a.jpg", "../elsewhere/day1/b.jpg")
    (case.images / "day1").symlink_to(case.folder / "elsewhere" / "day1")
    (case.images / "again").symlink_to(case.images)  # leads back, and must not hang
    assert set(case.listed(case.of_folder(tags=None))[0]) == {"a", "day1/b"}
    case.write("tags.csv", "image,tags\na.jpg,square\nday1/b.jpg,disc\n")
    assert case.listed(case.of_folder())[0] == {"a": ["square"], "day1/b": ["disc"]}


def test_lists_with_a_byte_order_mark(case):
    voc(case, {"2008_000001": VOC[0].format("") + VOC[1].format("cat")}, encoding="utf-8-sig")
    assert case.listed(case.of_voc())[0] == {"2008_000001": ["cat"]}


def test_masks_as_bitmaps(case):
    case.draw("a.jpg")
    case.coco("train.json", ["a.jpg"], [annotation(1, 1, SQUARE.astype(int).tolist())])
    case.write("proposals.json", [{"image_id": 1, "segmentation": SQUARE.tolist(), "area": 400, "score": 0.5}])
    project = case.of_coco(**own(case))
    assert case.listed(project)[1] == {"1": [400]}
    assert case.proposed(project) == {"1": [[6, 4, 26, 24]]}


def test_masks_with_an_unused_category(case, caplog):
    case.draw("a.jpg")
    case.write("tags.csv", "image,tags\na.jpg,square\n")
    case.coco("masks.json", ["a.jpg"], [annotation(1, 1, [OUTLINE])], ("shapes", "square", "disc"), (0, 1, 2))
    assert case.listed(case.of_folder(masks="masks.json"))[1] == {"a": [400]}
    assert "shapes" in caplog.text


def test_names_not_in_utf8(case):
    case.draw("a.jpg")
    (case.images / "a.jpg").rename(os.fsdecode(os.fsencode(case.images) + b"/caf\xe9.jpg"))
    case.draw("b.jpg")
    with pytest.raises(ValueError, match=r"caf\\xe9\.jpg; rename"):
        case.listed(case.of_folder(tags=None))


def test_one_bit_masks(case):
    case.draw("a.jpg")
    case.write("tags.csv", "image,tags\na.jpg,square\n")
    case.write("masks/instances.csv", "image,instance,class\na.jpg,1,square\n")
    Image.fromarray(SQUARE).save(case.folder / "masks" / "a.png", bits=1)
    assert case.listed(case.of_folder(masks="masks"))[1] == {"a": [400]}


def test_own_images_without_masks(case):
    case.draw("a.jpg")
    case.write("tags.csv", "image,tags\na.jpg,square\n")
    project = case.of_folder()
    case.listed(project, "val")
    paths = {name: case.folder / "val" / f"{name}.h5" for name in ("images", "ground_truth", "boxes", "instances")}
    inputs = {"images": paths["images"], "ground_truth": paths["ground_truth"]}
    list_boxes(**inputs, output=paths["boxes"], settings=project.images.chosen("val"), split="val")
    header = {"classes": ["square", "disc"], "category_ids": [1, 2], "run": "cim", "method": "cim"}
    made_by = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(
        paths["instances"], Instances, header=header | {"supervision": "image tags"}, provenance=made_by
    ) as out:
        regions = packed_fields(Regions.from_masks(SQUARE[None]))
        out.append(Instances(image="a", **regions, classes=np.zeros(1, np.int32), scores=np.ones(1, np.float32)))
    metrics = case.folder / "metrics.json"
    evaluate_instances(
        **paths, output_metrics=metrics, output_plot=case.folder / "curve.png", settings=project.evaluation
    )  # fmt: skip
    found = json.loads(metrics.read_text())
    assert found["n_images"] == 0
    assert {"voc", "cim", "sds", "coco"} <= found["masks"].keys()
    assert numbers_in(found["masks"]) == numbers_in(found["boxes"]) == {None}


def numbers_in(part):
    """What stands at the leaves of metrics, without words and counts."""
    if isinstance(part, dict):
        return set().union(*(numbers_in(value) for key, value in part.items() if not key.startswith("n_")))
    return set() if isinstance(part, str) else {part}


def test_suffixes_of_images(case, caplog):
    case.draw("a.jpg", "b.jfif", "c.ppm", "e.jpe")
    case.draw("d.jp2", quality_layers=[20])
    case.write("images/f.heic", b"\0\0\0\x18ftypheic")
    assert list(case.listed(case.of_folder(tags=None))[0]) == ["a", "b", "c", "d", "e"]
    assert "f.heic" in caplog.text
    case.write("tags.csv", "image,tags\nf.heic,disc\n")
    with pytest.raises(FileNotFoundError, match=r"(?s)cannot be read: f\.heic"):
        case.listed(case.of_folder())


def test_ids_of_proposals_that_are_names_of_other_images(case):
    names = [f"{number}.jpg" for number in range(1, 5)]
    case.draw(*names)
    images = [{"id": i, "file_name": name} for i, name in enumerate(names)]
    boxes = [[6 + 4 * i, 4, 26 + 4 * i, 24] for i in range(4)]
    masks = [[[x0, y0, x1, y0, x1, y1, x0, y1]] for x0, y0, x1, y1 in boxes]
    entries = [{"image_id": i, "segmentation": mask, "score": 0.9} for i, mask in enumerate(masks)]
    case.write("proposals.json", {"images": images, "annotations": entries})
    found = case.proposed(case.of_folder(tags=None, **own(case)))
    assert found == {str(i + 1): [box] for i, box in enumerate(boxes)}


def test_proposals_in_subfolders(case):
    names = ["day1/0001.jpg", "day2/0001.jpg"]
    case.draw(*names)
    images = [{"id": 11 + i, "file_name": name} for i, name in enumerate(names)]
    masks = [[[x, 4, x + 20, 4, x + 20, 24, x, 24]] for x in (6, 16)]
    entries = [{"image_id": 11 + i, "segmentation": mask, "score": 0.9} for i, mask in enumerate(masks)]
    case.write("proposals.json", {"images": images, "annotations": entries})
    found = case.proposed(case.of_folder(tags=None, **own(case)))
    assert found == {"day1/0001": [[6, 4, 26, 24]], "day2/0001": [[16, 4, 36, 24]]}


def test_a_space_in_the_path_of_weights(case):
    weights = case.write("my model/weights.safetensors", b"no weights")
    brought = {"method": "bestie", "semantics": "cam", "cues": "pam", "trained": {"network": str(weights)}}
    off = dict.fromkeys(["cim", "prm", "label_penet"])
    overlay = case.write("mine.yaml", yaml.safe_dump({"runs": {"bestie": brought} | off}))
    target = "results/shapes/bestie/val/instances.h5"
    done = snakemake(case.folder, "-n", "-p", target, "--configfile", str(overlay))
    assert done.returncode == 0, done.stdout + done.stderr
    (line,) = [text for text in done.stdout.splitlines() if "stages.bestie.predict_bestie" in text]
    words = shlex.split(line)
    assert words[words.index("--weights") + 1] == str(weights)


def test_windows_paths_in_instances_csv(case):
    case.draw("day1/a.jpg", "b.jpg")
    case.write("tags.csv", "image,tags\nday1\\a.jpg,square\nb.jpg,disc\n")
    case.write("masks/instances.csv", "image,instance,class\nday1\\a.jpg,1,square\nb.jpg,1,disc\n")
    (case.folder / "masks" / "day1").mkdir()
    for name in ("day1/a", "b"):
        Image.fromarray(SQUARE.astype(np.uint8)).save(case.folder / "masks" / f"{name}.png")
    assert case.listed(case.of_folder(masks="masks"))[1] == {"day1/a": [400], "b": [400]}


def test_windows_paths_in_json(case):
    case.draw("a.jpg")
    case.coco("train.json", ["images\\a.jpg"], [annotation(1, 1, [OUTLINE])])
    assert case.listed(case.of_coco(images="."))[1] == {"1": [400]}
