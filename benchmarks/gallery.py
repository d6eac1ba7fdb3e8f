"""How long a gallery takes to build, how large it is, and how long a browser takes to show and to filter it.

    python -m benchmarks.gallery results/benchmark_gallery --images 10000 --photos "$TAGMASK_DATA/.../JPEGImages"

Images repeat `--distinct` photographs; masks are ellipses drawn from a seed: 60 proposals, 12 predictions, 3 annotated
instances, 5 response maps an image.
"""

import argparse
import itertools
import json
import time
from pathlib import Path

import cv2
import numpy as np

from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.regions import packed_fields
from stages.core.artifacts.storage import Provenance, create
from stages.inspection.build_gallery import build_gallery
from stages.inspection.settings import GallerySettings
from stages.ops.regions import Regions
from tests.browser import headless, tab_of

CLASSES = ["cat", "cow", "dog", "horse", "sheep"]
MADE_BY = Provenance("benchmark", None, None, {})
SETTINGS = GallerySettings(
    images=None, choice="even", longer_side=512, thumbnail_side=224, jpeg_quality=80, opacity=0.45, proposals=30,
    responses=2, predictions=20, score_threshold=0.05, single_file=False,
)  # fmt: skip


def ellipses(rng: np.random.Generator, count: int, height: int, width: int) -> Regions:
    masks = np.zeros((count, height, width), np.uint8)
    for mask in masks:
        center = (int(rng.integers(width)), int(rng.integers(height)))
        axes = (int(rng.integers(10, width // 3)), int(rng.integers(10, height // 3)))
        cv2.ellipse(mask, center, axes, float(rng.uniform(0, 180)), 0, 360, 1, cv2.FILLED)
    return Regions.from_masks(masks.astype(bool))


def records(photo: Path, seed: int) -> list[dict]:
    """What stands in each artifact of one photograph, without its id."""
    rng = np.random.default_rng(seed)
    height, width = cv2.imread(str(photo)).shape[:2]
    tags = np.zeros(len(CLASSES), bool)
    tags[rng.integers(len(CLASSES), size=2)] = True
    shown = np.flatnonzero(tags)
    image = {
        "path": photo.name, "encoded": np.zeros(0, np.uint8), "height": height, "width": width,
        "file_size": photo.stat().st_size, "digest": "", "tags": tags, "looked_at": True,
    }  # fmt: skip
    proposals = {**packed_fields(ellipses(rng, 60, height, width)), "scores": np.linspace(1, 0, 60, dtype=np.float32)}
    cues = {
        "responses": rng.normal(size=(len(CLASSES), 24, 32)).astype(np.float32),
        "class_scores": np.where(tags, 1, -1).astype(np.float32), "peaks": np.array([[9, 9]], np.int32),
        "peak_classes": shown[:1].astype(np.int32), "peak_scores": np.ones(1, np.float32),
    }  # fmt: skip
    instances = {
        **packed_fields(ellipses(rng, 12, height, width)), "classes": rng.choice(shown, 12).astype(np.int32),
        "scores": np.sort(rng.uniform(size=12).astype(np.float32))[::-1].copy(),
    }  # fmt: skip
    truth = {
        **packed_fields(ellipses(rng, 3, height, width)), "annotated": True, "void": np.zeros(0, np.uint8),
        "classes": rng.choice(shown, 3).astype(np.int32), "crowd": np.zeros(3, bool), "difficult": np.zeros(3, bool),
        "annotation_ids": np.zeros(3, np.int64),
    }  # fmt: skip
    return [image, proposals, cues, instances, truth]


def write_artifacts(folder: Path, photos: list[Path], count: int) -> list[Path]:
    tags = {"classes": CLASSES, "category_ids": list(range(1, 6)), "supervision": "image tags"}
    headers = [
        {"name": "benchmark", "kind": "folder", "split": "val", "root": str(photos[0].parent), "negatives": 0,
         "unknown": 0},
        {"source": "ellipses", "supervision": "label-free"},
        {"head": "cam"},
        {"run": "benchmark", "method": "cim"},
        {},
    ]  # fmt: skip
    kinds = [ImageRecord, Proposals, Cues, Instances, GroundTruth]
    held = [records(photo, seed) for seed, photo in enumerate(photos)]
    paths = [folder / f"{kind.__name__}.h5" for kind in kinds]
    for i, (kind, path, header) in enumerate(zip(kinds, paths, headers, strict=True)):
        with create(path, kind, header=tags | header, provenance=MADE_BY) as writer:
            for number, one in enumerate(itertools.islice(itertools.cycle(held), count)):
                writer.append(kind(image=f"image_{number:06d}", **one[i]))
    return paths


def in_browser(page: Path) -> dict[str, float]:
    """Seconds until rows are listed and the first panel is drawn, and until a filter and an order have been applied."""
    with headless() as browser, tab_of(browser) as tab:
        start = time.perf_counter()
        tab.goto(page.as_uri())
        tab.locator("#status", has_text="Images 1 to").wait_for()
        listed = time.perf_counter() - start
        tab.wait_for_selector(".panel canvas")
        first = time.perf_counter() - start
        start = time.perf_counter()
        tab.select_option("#find-kind", "part")
        tab.select_option("#find-sort", "missed")
        tab.locator("#status", has_text="found").wait_for()
        while "sort=missed" not in tab.url:
            tab.wait_for_timeout(5)
        return {"listed": listed, "first panel": first, "filtered and sorted": time.perf_counter() - start}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where artifacts and pages are written")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--photos", type=Path, required=True, help="folder of JPEG files")
    parser.add_argument("--distinct", type=int, default=40)
    options = parser.parse_args()
    photos = sorted(options.photos.glob("*.jpg"))[: options.distinct]
    images, *artifacts, truth = write_artifacts(options.folder, photos, options.images)
    page = options.folder / "index.html"
    start = time.perf_counter()
    build_gallery(
        images=images, artifacts=artifacts, ground_truth=truth, metrics=None, output=page,
        output_data=options.folder / "data", threads=2, settings=SETTINGS,
    )  # fmt: skip
    taken = time.perf_counter() - start
    size = sum(path.stat().st_size for path in [page, *(options.folder / "data").rglob("*.*")])
    print(json.dumps({"seconds to build": taken, "MB": size / 1e6, "page MB": page.stat().st_size / 1e6}, indent=1))
    print(json.dumps(in_browser(page), indent=1))


if __name__ == "__main__":
    main()
