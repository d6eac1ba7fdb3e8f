"""COCO, and data sets in its JSON format. Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014."""

from collections.abc import Collection
from pathlib import Path

from stages.images.coco_json import CocoJson
from stages.images.dataset import Annotations, PointFiles, selected_classes
from stages.images.settings import ChosenImages, CocoSettings, CocoSplit


class Coco:
    """One split of a COCO data set. Image ids are the official image ids as text; classes are in order of theirs."""

    def __init__(self, settings: ChosenImages, split: str) -> None:
        """Read the split's JSON. Raises FileNotFoundError or ValueError naming what is wrong with it."""
        block, files = settings.block, settings.split(split)
        assert isinstance(block, CocoSettings)
        assert isinstance(files, CocoSplit)
        self._json = CocoJson(Path(block.root) / files.annotations)
        self._folder = files.images.rstrip("/")
        self._crowd_tags = block.crowd_tags
        self.root = block.root
        self.classes = selected_classes(settings.classes, list(self._json.categories.values()), str(self._json.path))
        ids = {name: number for number, name in self._json.categories.items()}
        self.category_ids = [ids[name] for name in self.classes]
        self._index = {number: i for i, number in enumerate(self.category_ids)}
        self.images = [str(number) for number in self._json.images]
        self.points: PointFiles | None = None

    def path(self, image: str) -> str:
        """File of an image relative to `root`."""
        return f"{self._folder}/{self._json.images[int(image)]['file_name']}"

    def embedded(self, image: str) -> bytes:
        """Never called: the images are files."""
        raise ValueError(f"image {image!r} of COCO is a file")

    def tags(self, image: str) -> Collection[int] | None:
        """Classes of the image's annotations, those of crowds by `crowd_tags`.

        None where the file has no annotations, or where crowds, which are left out of the tags, are all that the image
        has of the classes.
        """
        named, tagged = self._categories(image, crowds=True), self._categories(image, crowds=self._crowd_tags)
        return None if not self._json.annotated or (named and not tagged) else tagged

    def _categories(self, image: str, *, crowds: bool) -> set[int]:
        categories = self._json.tags(int(image), crowds=crowds)
        return {self._index[number] for number in categories if number in self._index}

    def ground_truth(self, image: str, height: int, width: int) -> Annotations | None:
        """The image's annotations of the selected classes, crowds and ignored ones marked."""
        return self._json.ground_truth(int(image), height, width, self._index.get)
