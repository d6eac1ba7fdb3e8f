"""What readers of YOLO labels make of them, beside the exact masks of the same instances in CVAT's form.

    make test-importers     # sets up .venv-importers
    .venv-importers/bin/python -m benchmarks.yolo_readers results/voc_animals/cim/val/exports --torch .venv

The folder holds `yolo/` (`parts: join`) and `cvat/` of one split. ultralytics fills the outlines of the labels, and, as
in its training, outlines of 1000 points between; it takes torch from the environment that `--torch` names.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

POINTS = 1000  # of an outline in ultralytics' training
Masks = dict[str, list[np.ndarray]]


def exact(path: Path) -> Masks:
    """Masks (H, W) bool of each image, by its name without suffix."""
    return {
        image.get("name", "").rpartition(".")[0]: list(_decoded(image))
        for image in ElementTree.parse(path).getroot().iter("image")
    }


def _decoded(image: ElementTree.Element) -> Iterator[np.ndarray]:
    for mask in image.iter("mask"):
        left, top, width, height = (int(mask.attrib[key]) for key in ("left", "top", "width", "height"))
        runs = np.array(mask.attrib["rle"].split(","), int)
        inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(height, width)
        found = np.zeros((int(image.attrib["height"]), int(image.attrib["width"])), bool)
        found[top : top + height, left : left + width] = inside
        yield found


def by_supervision(folder: Path, split: str) -> Masks:
    import supervision

    images = folder / "images" / split
    data = supervision.DetectionDataset.from_yolo(
        str(images), str(folder / "labels" / split), str(folder / "data.yaml")
    )
    masks = {path: found.mask for path, found in data.annotations.items()}
    return {Path(path).stem: [] if found is None else list(found) for path, found in masks.items()}


def by_ultralytics(folder: Path, split: str) -> tuple[Masks, Masks]:
    from ultralytics.data.dataset import YOLODataset
    from ultralytics.data.utils import check_det_dataset, polygon2mask
    from ultralytics.utils.ops import resample_segments

    info = check_det_dataset(str(folder / "data.yaml"))
    labels = YOLODataset(img_path=info["train"], data=info, task="segment", augment=False).labels

    def filled(change: Callable[[list], list]) -> Masks:
        masks: Masks = {}
        for label in labels:
            sides = np.array(label["shape"][::-1], np.float32)
            lines = change([line.copy() for line in label["segments"]])
            name = Path(label["im_file"]).relative_to((folder / "images" / split).resolve()).with_suffix("").as_posix()
            masks[name] = [polygon2mask(label["shape"], [(line * sides).reshape(-1)]) for line in lines]
        return masks

    return filled(list), filled(lambda lines: resample_segments(lines, n=POINTS))


def row(name: str, wanted: Masks, found: Masks) -> str:
    overlaps = []
    for image, masks in wanted.items():
        for mask, other in zip(masks, found[image], strict=True):
            filled = np.asarray(other, bool)
            overlaps.append((mask & filled).sum() / (mask | filled).sum())
    same, mean = sum(overlap == 1 for overlap in overlaps), np.mean(overlaps)
    low, least = np.quantile(overlaps, 0.01), min(overlaps)
    return f"| {name} | {len(overlaps)} | {same} | {mean:.4f} | {low:.4f} | {least:.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exports", type=Path, help="folder that holds yolo/ and cvat/")
    parser.add_argument("--torch", type=Path, required=True, help="environment that has torch")
    arguments = parser.parse_args()
    sys.path += [str(path) for path in arguments.torch.glob("lib/python*/site-packages")]
    wanted, folder = exact(arguments.exports / "cvat" / "annotations.xml"), arguments.exports / "yolo"
    (split,) = (path.name for path in (folder / "images").iterdir())
    plain, resampled = by_ultralytics(folder, split)
    name = f"ultralytics {version('ultralytics')}"
    print("| reader | masks | equal | mean IoU | 1 % below | least IoU |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    print(row(f"supervision {version('supervision')}", wanted, by_supervision(folder, split)))
    print(row(f"{name}, outlines of the labels", wanted, plain))
    print(row(f"{name}, outlines of {POINTS} points", wanted, resampled))


if __name__ == "__main__":
    main()
