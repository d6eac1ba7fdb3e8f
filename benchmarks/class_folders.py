"""Makes a folder of images sorted by one class from a split in COCO's format, as people who inspect parts have them.

    python -m benchmarks.class_folders instances_train2017.json train2017 people/train --class-name person
    python -m benchmarks.class_folders instances_val2017.json val2017 people/val --class-name person

`<out>/images/<class>/` has the images with an object of the class, `<out>/images/good/` the others;
`<out>/masks.json` has the annotated objects of the class, to measure with. Images are hard links where the file system
has these, else copies.
"""

import argparse
import json
import os
import shutil
from pathlib import Path

NEGATIVES = "good"


def sort_images(annotations: Path, images: Path, out: Path, class_name: str) -> dict[str, int]:
    """Write the folder; how many images each of its two has.

    Args:
        annotations: JSON of the split in COCO's format.
        images: folder of its images.
        out: folder to write, which must not be there yet.
        class_name: name of the category whose images are wanted.

    Raises:
        ValueError: no category has the name.
        FileExistsError: the folder is there.
    """
    content = json.loads(annotations.read_bytes())
    numbers = [entry["id"] for entry in content["categories"] if entry["name"] == class_name]
    if len(numbers) != 1:
        raise ValueError(f"{annotations} has {len(numbers)} categories called {class_name!r}, expected one")
    objects = [entry for entry in content["annotations"] if entry["category_id"] == numbers[0]]
    shown = {entry["image_id"] for entry in objects}
    out.mkdir(parents=True)
    listed = []
    for entry in content["images"]:
        name = f"{class_name if entry['id'] in shown else NEGATIVES}/{entry['file_name']}"
        listed.append(entry | {"file_name": name})
        _place(images / entry["file_name"], out / "images" / name)
    categories = [{"id": numbers[0], "name": class_name}]
    masks = {"images": listed, "annotations": objects, "categories": categories}
    (out / "masks.json").write_text(json.dumps(masks), encoding="utf-8")
    return {class_name: len(shown), NEGATIVES: len(listed) - len(shown)}


def _place(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Sort the images of a COCO split into folders by one class.")
    parser.add_argument("annotations", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--class-name", required=True)
    print(sort_images(**vars(parser.parse_args())))
