"""Suspect tags with known errors: plants wrong tags in a listed split, and measures how many the report finds first.

    .venv/bin/snakemake -c2 --configfile presets/voc_animals.yaml -- results/voc_animals/train/images.h5
    .venv/bin/python -m benchmarks.suspect_tags plant results/voc_animals/train/images.h5 planted --share 0.05
    .venv/bin/snakemake -c2 suspect_tags --configfile presets/voc_animals.yaml planted/planted.yaml
    .venv/bin/python -m benchmarks.suspect_tags measure planted results/voc_animals_planted

Half of the planted errors are tags that are taken away, half are tags of classes that the image does not show. Errors
that the tags had before count as false alarms.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import yaml

from stages.core.artifacts.images import ImageRecord, all_tags
from stages.core.artifacts.storage import read
from stages.inspection.judged_tags import judge
from stages.inspection.suspect_tags import MISSING, WRONG, tag_quality

PLANTED = ("image", "tag", "suspected")


def plant(images: Path, folder: Path, share: float, seed: int) -> None:
    """Write tags.csv with planted errors, planted.csv that names them, and planted.yaml that runs on the tags.

    Args:
        images: images.h5 of a split whose images are files.
        folder: where the three files go.
        share: planted errors as a share of the tags.
        seed: of the choice.
    """
    with read(images, ImageRecord) as listing:
        classes, header = listing.header["classes"], listing.header
        files = listing.column("path").tolist()
        right = all_tags(listing)
    changed = right.copy()
    for place in chosen_errors(right, share, seed):
        changed[tuple(place)] ^= True
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tags.csv").open("w", newline="", encoding="utf-8") as file:
        rows = (
            (name, ";".join(classes[c] for c in np.flatnonzero(row))) for name, row in zip(files, changed, strict=True)
        )
        csv.writer(file).writerows([("image", "tags"), *rows])
    with (folder / "planted.csv").open("w", newline="", encoding="utf-8") as file:
        errors = (
            (Path(files[i]).with_suffix("").as_posix(), classes[c], WRONG if changed[i, c] else MISSING)
            for i, c in np.argwhere(changed != right)
        )
        csv.writer(file).writerows([PLANTED, *errors])
    split = {"images": header["root"], "tags": str((folder / "tags.csv").resolve()), "masks": None, "points": None}
    splits = {"train": split, "val": None}
    images_of = {"name": f"{header['name']}_planted", "kind": "folder", "classes": classes, "untagged": "negative"}
    images_of["verify"] = "header"  # the split was listed, so that its images are whole
    overlay = {
        "splits": {"train": "train", "evaluate": ["train"]},
        "images": images_of | {"folder": {"splits": splits}},
    }
    (folder / "planted.yaml").write_text(yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
    print(f"planted {int((changed != right).sum())} errors in {int(right.sum())} tags of {len(right)} images")


def chosen_errors(tags: np.ndarray, share: float, seed: int) -> np.ndarray:
    """Places (image, class) to be planted, half of them tags, half of them not, (errors, 2)."""
    generator, count = np.random.default_rng(seed), round(share * tags.sum())
    taken = generator.permutation(np.argwhere(tags))[: count // 2]
    added = generator.permutation(np.argwhere(~tags))[: count - count // 2]
    return np.concatenate([taken, added])


def measure(folder: Path, results: Path) -> str:
    """Precision and recall of the list, and the area under the curve of all judged tags, as a Markdown table."""
    planted = rows_of(folder / "planted.csv")
    suspects = rows_of(results / "suspect_tags" / "suspect_tags.csv")
    hits = np.isin(np.arange(len(suspects)), [i for i, row in enumerate(suspects) if row in set(planted)])
    images, area = judged_area(results, set(planted))
    count = len(planted)
    rows = [
        ("suspects on the list", f"{len(suspects)}"),
        (f"first {count}, as many as were planted: share that was planted", f"{hits[:count].mean():.2f}"),
    ]
    for part in (0.05, 0.1):
        first = round(part * images)
        rows.append(
            (f"first {first}, {part:.0%} of the images: share of the planted", f"{hits[:first].sum() / count:.2f}")
        )
    rows.append(("whole list: share of the planted", f"{hits.sum() / count:.2f}"))
    for kind in (WRONG, MISSING):
        there = [row in set(suspects) for row in planted if row[2] == kind]
        rows.append((f"the same, {kind} tags alone", f"{np.mean(there):.2f}"))
    rows.append(("area under the curve of all judged tags", f"{area:.3f}"))
    return "\n".join(["| measure | value |", "| --- | ---: |", *(f"| {name} | {value} |" for name, value in rows)])


def rows_of(path: Path) -> list[tuple[str, ...]]:
    """Image, tag and kind of error of each row of a list."""
    with path.open(newline="", encoding="utf-8") as file:
        return [tuple(row[key] for key in PLANTED) for row in csv.DictReader(file)]


def judged_area(results: Path, planted: set[tuple[str, ...]]) -> tuple[int, float]:
    """Number of judged images, and how well the quality of all their tags tells planted ones from the others."""
    with read(results / "train" / "images.h5", ImageRecord) as listing:
        judged = judge(listing, sorted((results / "suspect_tags").glob("fold_*/scores.h5")))
        names = [listing.header["classes"][i] for i in judged.classes]
        ids = [listing.ids[i] for i in judged.images]
    wrong = [
        (image, name, WRONG if tag else MISSING) in planted
        for image, row in zip(ids, judged.tags, strict=True)
        for name, tag in zip(names, row, strict=True)
    ]
    return len(ids), area_under_curve(-tag_quality(judged.probabilities, judged.tags).ravel(), np.array(wrong))


def area_under_curve(scores: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has a higher score than a negative, by ranks."""
    ranks = np.empty(len(scores))
    ranks[np.argsort(scores)] = np.arange(1, len(scores) + 1)
    count = positive.sum()
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def main() -> None:
    """Plant or measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    planting = commands.add_parser("plant", help="write tags with planted errors")
    planting.add_argument("images", type=Path, help="images.h5 of a split")
    planting.add_argument("folder", type=Path, help="where the files go")
    planting.add_argument("--share", type=float, default=0.05, help="planted errors as a share of the tags")
    planting.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure", help="compare the list with what was planted")
    measuring.add_argument("folder", type=Path, help="folder of planted.csv")
    measuring.add_argument("results", type=Path, help="results of the data set with the planted tags")
    arguments = parser.parse_args()
    if arguments.command == "plant":
        plant(arguments.images, arguments.folder, arguments.share, arguments.seed)
    else:
        print(measure(arguments.folder, arguments.results))


if __name__ == "__main__":
    main()
