"""How classes and columns are numbered: the one place that knows of the offset between them.

Scores and targets with background are (N, C + 1): background is column 0, class c is column 1 + c. Where a class is
given by its number, background is -1.
"""

from typing import Any

BACKGROUND = -1


def column_of(classes: Any) -> Any:
    """Columns of classes, an array or tensor of integers from `BACKGROUND` to C - 1."""
    return classes - BACKGROUND


def without_background(matrix: Any) -> Any:
    """The columns of the classes (N, C) of an array or tensor (N, C + 1)."""
    return matrix[:, 1:]
