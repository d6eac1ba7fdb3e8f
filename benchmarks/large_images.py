"""Memory and time of one large image on its way through tiles, with a predictor that errs nowhere.

    python -m benchmarks.large_images FOLDER [HEIGHT WIDTH]

draws a JPEG with annotated ellipses, some of them larger than a tile, lists it and its tiles, takes the ground truth of
each tile for a prediction, merges, measures and exports. Each step is a process of its own that says how long it took
and how much memory it had at most. benchmarks/own_images.md has the numbers.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.storage import Provenance, create, read
from stages.project.project import ProjectBase, load_files

ROOT = Path(__file__).parents[1]
OBJECTS = 400
CORNERS = 32
CLASSES = ["disc", "ring"]
DONE = re.compile(r"done in (\S+), peak memory (\d+) MB")


def draw(folder: Path, height: int, width: int) -> None:
    """A JPEG of smooth noise with ellipses, and their polygons as COCO JSON."""
    generator = np.random.default_rng(0)
    rough = generator.integers(60, 200, (height // 40, width // 40, 3)).astype(np.uint8)
    rgb = cv2.resize(rough, (width, height), interpolation=cv2.INTER_LINEAR)
    annotations = []
    for i in range(1, OBJECTS + 1):
        radius = generator.uniform(15, 150, 2) if i % 100 else generator.uniform(300, 1200, 2)
        y, x = generator.uniform(0, height), generator.uniform(0, width)
        turn = np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)
        ring = np.stack([x + radius[0] * np.cos(turn), y + radius[1] * np.sin(turn)], axis=1)
        ring = ring.clip(0, (width, height)).round()
        cv2.fillPoly(rgb, [ring.astype(np.int32)], generator.integers(0, 255, 3).tolist())
        polygon, label = ring.reshape(-1).tolist(), 1 + i % 2
        box = [*ring.min(axis=0).tolist(), *np.ptp(ring, axis=0).tolist()]
        annotations.append(
            {"id": i, "image_id": 1, "category_id": label, "iscrowd": 0, "segmentation": [polygon], "bbox": box}
        )
        area = cv2.contourArea(ring.astype(np.float32))
        annotations[-1]["area"] = float(area)
    cv2.imwrite(str(folder / "large.jpg"), rgb, [cv2.IMWRITE_JPEG_QUALITY, 90])
    image = {"id": 1, "file_name": "large.jpg", "height": height, "width": width}
    categories = [{"id": i, "name": name} for i, name in enumerate(CLASSES, start=1)]
    whole = {"images": [image], "categories": categories, "annotations": annotations}
    (folder / "large.json").write_text(json.dumps(whole))


def settings_of(folder: Path, pixels: int) -> ProjectBase:
    """The project of config.yaml with the image as its data set."""
    split = "{images: ., annotations: large.json}"
    overlay = folder / "overlay.yaml"
    overlay.write_text(
        "splits: {train: val.tiles}\n"
        f"images: {{kind: coco, name: large, max_pixels: {pixels}, coco: {{root: {json.dumps(str(folder))},"
        f" splits: {{train: null, val: {split}}}, tiling: {{size: 1024, overlap: 256}}}}}}\n"
    )
    return load_files(ROOT / "config.yaml", overlay)


def predict(folder: Path) -> None:
    """The ground truth of each tile as its instances."""
    with read(folder / "val.tiles" / "ground_truth.h5", GroundTruth) as known:
        header = known.header | {"run": "exact", "method": "exact", "supervision": "masks"}
        made_by = Provenance("benchmark", None, None, {"ground_truth": known})
        with create(folder / "val.tiles" / "instances.h5", Instances, header=header, provenance=made_by) as out:
            for tile in known:
                scores = np.ones(len(tile.classes), np.float32)
                regions = {"atoms": tile.atoms, "membership": tile.membership, "atom_count": tile.atom_count}
                out.append(Instances(image=tile.image, classes=tile.classes, scores=scores, **regions))


def run(step: str, **arguments: object) -> None:
    """Run a step in a process of its own; print its time and memory."""
    options = [part for name, value in arguments.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run(
        [sys.executable, "-m", f"stages.{step}", *options], capture_output=True, text=True, check=False, cwd=ROOT
    )
    found = DONE.search(done.stderr)
    if found is None:
        raise RuntimeError(done.stderr)
    remarks = [line[9:] for line in done.stderr.splitlines() if not DONE.search(line)]
    print(f"{step:32} {found[1]:>8} {found[2]:>6} MB   {remarks[-1] if remarks else ''}", flush=True)


def main(folder: Path, height: int, width: int) -> None:
    """Draw, list, predict, merge, measure and export."""
    folder.mkdir(parents=True, exist_ok=True)
    draw(folder, height, width)
    size = (folder / "large.jpg").stat().st_size
    print(f"{height}x{width} pixels, JPEG of {size / 1e6:.0f} MB, {OBJECTS} objects")
    project = settings_of(folder, height * width)
    for split in ("val", "val.tiles"):
        made = folder / split
        outputs = {f"output_{name}": made / f"{name}.h5" for name in ("images", "ground_truth", "points")}
        listing = project.images.chosen(split).canonical()
        run("images.list_images", settings=listing, split=split, threads=2, **outputs)
        inputs = {"images": made / "images.h5", "ground_truth": made / "ground_truth.h5"}
        run("images.list_boxes", settings=listing, split=split, output=made / "boxes.h5", **inputs)
    predict(folder)
    whole, cut = folder / "val", folder / "val.tiles"
    run(
        "tiles.merge_tiles", images=whole / "images.h5", tiles=cut / "images.h5", instances=cut / "instances.h5",
        output=whole / "instances.h5", settings=project.tiles.canonical(),
    )  # fmt: skip
    inputs = {"images": whole / "images.h5", "instances": whole / "instances.h5"}
    run(
        "evaluation.evaluate_instances", **inputs, ground_truth=whole / "ground_truth.h5", boxes=whole / "boxes.h5",
        output_metrics=whole / "metrics.json", output_plot=whole / "curves.png",
        settings=project.evaluation.instances.canonical(),
    )  # fmt: skip
    masks = json.loads((whole / "metrics.json").read_text())["masks"]
    print(f"mask mAP75 (voc) {masks['voc']['mAP75']}, ABO {masks['ABO']}")
    coco = project.exports.coco_of("predictions").canonical()
    run("exports.export_coco", **inputs, output=whole / "coco.json", settings=coco)
    run("exports.export_ids", **inputs, output=whole / "ids", settings=project.exports.predictions.canonical())
    overlays = project.exports.overlays_of("predictions").canonical()
    run("exports.export_overlays", **inputs, output=whole / "overlays", settings=overlays)


if __name__ == "__main__":
    sides = [int(side) for side in sys.argv[2:4]] or [9000, 12000]
    main(Path(sys.argv[1]).resolve(), *sides)
