"""cluster_labels/{split}.h5: AGPL's pre-computed pseudo labels of proposals."""

import dataclasses
from typing import ClassVar

import numpy as np

from stages.core.artifacts.records import Record, array, text


@dataclasses.dataclass(frozen=True, eq=False)
class ClusterLabels(Record):
    """One image's cluster of each proposal; the header holds `classes`."""

    KIND: ClassVar[str] = "cluster_labels"
    SCHEMA: ClassVar[int] = 2

    image: str = text(about="id of the image")
    clusters: np.ndarray = array("int32", "regions", about="cluster id from 1 on; 0: the proposal is ignored")
    cluster_classes: np.ndarray = array("int32", "regions", about="class; -1: background, or ignored")
