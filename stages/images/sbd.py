"""The Semantic Boundaries Dataset: more VOC 2011 images with instance masks, in MATLAB files.

Hariharan et al., "Semantic Contours from Inverse Detectors", ICCV 2011.
"""

from pathlib import Path

import numpy as np

from stages.core.matlab.variables import is_hdf5, variables_of
from stages.images.files.text import read_text
from stages.images.index_maps import check_size

PLACES = (".", "dataset", "benchmark_RELEASE/dataset")  # where the released archive has its folders
LARGEST_ID = 2**31 - 1
LISTS = ("train.txt", "val.txt")
FIELDS = ("Segmentation", "Categories")
RESTORE = "restore it"


class Sbd:
    """Lists and instances of SBD, found below `folder`, which may be any folder of the released archive."""

    def __init__(self, folder: Path) -> None:
        """Find the data. Raises FileNotFoundError where `folder` is not SBD."""
        places = [folder / place for place in PLACES]
        found = [place for place in places if (place / "inst").is_dir()]
        if not found:
            tried = ", ".join(str(place) for place in places)
            raise FileNotFoundError(f"no folder 'inst' of SBD in {tried}; set images.voc.sbd to the unpacked archive")
        self._folder = found[0]

    def images(self) -> list[str]:
        """Names of the train list, then of the val list."""
        names: list[str] = []
        for name in LISTS:
            path = self._folder / name
            names += read_text(path, "restore the lists of SBD to make train_aug").split()
        return names

    def has(self, image: str) -> bool:
        """Whether SBD annotates the image."""
        return self._path(image).is_file()

    def categories(self, image: str) -> set[int]:
        """VOC categories (1 to 20) of the image's instances."""
        return set(_categories(self._read(image), self._path(image)))

    def instances(self, image: str, height: int, width: int) -> tuple[np.ndarray, dict[int, int]]:
        """Instance ids (height, width) int32, 0 for background, and the VOC category of each id."""
        path, ground_truth = self._path(image), self._read(image)
        ids = ground_truth["Segmentation"]
        if ids.dtype.kind not in "iubf" or ids.ndim != 2 or not np.array_equal(ids, ids.clip(0, LARGEST_ID) // 1):
            raise ValueError(f"{path} has a Segmentation of {ids.dtype} {ids.shape}, expected a map of ids; restore it")
        ids = ids.astype(np.int32)
        check_size(ids.shape, height, width, str(path))
        categories = _categories(ground_truth, path)
        present = [int(i) for i in np.unique(ids) if i != 0]
        unknown = [i for i in present if not 1 <= i <= len(categories)]
        if unknown:
            raise ValueError(f"{path}: instances {unknown} have no category, {len(categories)} are given; restore it")
        return ids, {i: categories[i - 1] for i in present}

    def _path(self, image: str) -> Path:
        return self._folder / "inst" / f"{image}.mat"

    def _read(self, image: str) -> dict[str, np.ndarray]:
        path = self._path(image)
        if is_hdf5(path):
            raise ValueError(f"{path} is of MATLAB's version 7.3, in which SBD has no files; restore it")
        ground_truth = variables_of(path, remedy=f"it is no instance file of SBD: {RESTORE}").get("GTinst")
        arrays = [isinstance(ground_truth, dict) and ground_truth.get(name) for name in FIELDS]
        if not all(isinstance(value, np.ndarray) for value in arrays):
            raise ValueError(
                f"{path} is no instance file of SBD, a struct GTinst with {' and '.join(FIELDS)}; {RESTORE}"
            )
        return dict(zip(FIELDS, arrays, strict=True))


def _categories(ground_truth: dict[str, np.ndarray], path: Path) -> list[int]:
    try:
        categories = [int(category) for category in ground_truth["Categories"].ravel()]
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path} has categories that are no numbers ({error}); restore it") from error
    wrong = [category for category in categories if not 1 <= category <= 20]
    if wrong:
        raise ValueError(f"{path} has categories {wrong}, expected 1 to 20; restore it")
    return categories
