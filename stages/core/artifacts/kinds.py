"""All kinds of artifacts by name, for those who read whatever they are given."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.hdf5 import open_hdf5
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.points import Points
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.records import Record
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import REMEDY, Artifact, artifact_in, check_exists, kind_of
from stages.core.artifacts.tag_scores import TagScores

RECORDS: dict[str, type[Record]] = {
    record.KIND: record
    for record in (
        ImageRecord, GroundTruth, AnnotatedBoxes, Points, Proposals, Cues, SemanticMaps, ClusterLabels, PseudoInstances,
        RefinedLabels, CenterMaps, ModuleLabels, Instances, TagScores,
    )
}  # fmt: skip


@contextlib.contextmanager
def read_any(path: Path) -> Iterator[Artifact]:
    """Open an artifact of whatever kind it says that it is. Raises as `read`, and ValueError for an unknown kind."""
    check_exists(path)
    with open_hdf5(path, remedy=REMEDY) as file:
        kind = kind_of(path, file)
        if kind not in RECORDS:
            raise ValueError(f"{path} is an artifact of kind {kind!r}; known are {sorted(RECORDS)}")
        yield artifact_in(file, path, RECORDS[kind])
