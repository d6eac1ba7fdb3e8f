"""Reads COB and MCG proposals from MATLAB files, versions 4 to 7 (SciPy) and 7.3 (HDF5)."""

from pathlib import Path
from typing import Any

import numpy as np

from stages.core.matlab.variables import variables_of
from stages.proposals.imported import MaskList, SuperpixelList

_LAYOUTS = (
    "`maskmat` (cell of masks, or array regions x height x width), "
    "`superpixels` with `labels` (cell of 1-based ids) and perhaps `scores`, at the top or in a struct `proposals`, "
    "or `masks` (array height x width x regions)"
)
INT32 = -(2**31), 2**31 - 1  # ids beyond are no ids of an image
REMEDY = "it is cut off or damaged: fetch it again"


def read_mat(path: Path) -> MaskList | SuperpixelList:
    """The regions of one image.

    Raises:
        ValueError: the file is cut off or no MATLAB file, reads other files, is larger than may be, or its variables
            follow no known layout; names the file.
    """
    variables = variables_of(path, remedy=REMEDY)
    inside = {**variables, **variables.get("proposals", {})} if _is_struct(variables.get("proposals")) else variables
    if "maskmat" in inside:
        return _from_maskmat(inside, path)
    if "superpixels" in inside and "labels" in inside:
        return _from_superpixels(inside, path)
    if "masks" in inside:
        return _from_stack(np.moveaxis(_array(inside["masks"], "masks", 3, path), 2, 0), inside, path)
    raise ValueError(
        f"{path} has the variables {_outline(variables)}, which is no known layout; expected {_LAYOUTS}: "
        "save the proposals in one of these"
    )


def _from_maskmat(variables: dict[str, Any], path: Path) -> MaskList:
    masks = variables["maskmat"]
    if not isinstance(masks, list):
        return _from_stack(_array(masks, "maskmat", 3, path), variables, path)
    for i, mask in enumerate(masks):
        _array(mask, f"maskmat cell {i + 1}", 2, path)
    return MaskList(len(masks), lambda i: masks[i] != 0, _scores(variables, path))


def _from_stack(masks: np.ndarray, variables: dict[str, Any], path: Path) -> MaskList:
    return MaskList(len(masks), lambda i: masks[i] != 0, _scores(variables, path))


def _from_superpixels(variables: dict[str, Any], path: Path) -> SuperpixelList:
    superpixels = _ids(_array(variables["superpixels"], "superpixels", 2, path), "`superpixels`", path)
    labels = variables["labels"]
    if not isinstance(labels, list):
        raise ValueError(f"{path}: `labels` is no cell, expected a cell of id vectors, one per region; save it as one")
    count = int(superpixels.max(initial=0))
    if superpixels.min(initial=1) < 1:
        raise ValueError(f"{path}: `superpixels` holds id {superpixels.min()}, expected ids from 1; it was damaged")
    if count > superpixels.size:
        raise ValueError(f"{path}: `superpixels` holds id {count}, more than its pixels; {REMEDY}")
    regions = np.zeros((len(labels), count), dtype=bool)
    for i, cell in enumerate(labels):
        ids = _ids(cell, f"cell {i + 1} of `labels`", path).reshape(-1)
        if ids.size and (ids.min() < 1 or ids.max() > count):
            raise ValueError(
                f"{path}: region {i + 1} names superpixels {ids.min()} to {ids.max()}, but `superpixels` holds 1 to "
                f"{count}; labels and superpixels are of different images"
            )
        regions[i, ids - 1] = True
    return SuperpixelList(superpixels - 1, regions, _scores(variables, path))


def _ids(value: Any, name: str, path: Path) -> np.ndarray:
    """Whole numbers as int64, however they are stored."""
    if isinstance(value, list) and not value:
        return np.zeros(0, np.int64)
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "buif":
        raise ValueError(f"{path}: {name} has no numbers; {REMEDY}")
    with np.errstate(invalid="ignore"):  # NaN becomes some number, which it is not equal to
        ids = np.clip(value.astype(np.float64), *INT32).astype(np.int64)
    if not np.array_equal(value, ids):
        raise ValueError(f"{path}: {name} has other values than whole numbers; {REMEDY}")
    return ids


def _scores(variables: dict[str, Any], path: Path) -> np.ndarray | None:
    scores = variables.get("scores")
    if scores is None or np.size(scores) == 0:
        return None
    if not isinstance(scores, np.ndarray) or scores.dtype.kind not in "buif":
        raise ValueError(f"{path}: `scores` is no array of numbers; {REMEDY}")
    return scores.astype(np.float64).reshape(-1)


def _array(value: Any, name: str, axes: int, path: Path) -> np.ndarray:
    if not isinstance(value, np.ndarray) or value.ndim != axes or value.dtype.kind not in "buif":
        found = f"{value.dtype} of shape {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise ValueError(f"{path}: {name} is {found}, expected numbers with {axes} axes; expected {_LAYOUTS}")
    return value


def _is_struct(value: Any) -> bool:
    return isinstance(value, dict)


def _outline(variables: dict[str, Any]) -> str:
    """Names of what a file holds, with the fields of structs."""
    names = [f"{name} ({', '.join(sorted(v))})" if _is_struct(v) else name for name, v in sorted(variables.items())]
    return ", ".join(names) or "(none)"
