"""All kinds of artifacts by name, for those who read whatever they are given."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from stages.core.artifacts.annotated_boxes import AnnotatedBoxes
from stages.core.artifacts.center_maps import CenterMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.module_labels import ModuleLabels
from stages.core.artifacts.points import Points
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.records import Record
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Artifact, open_hdf5, read
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
    with read(path, RECORDS[_kind(path)]) as artifact:
        yield artifact


def _kind(path: Path) -> str:
    """The kind that the file says. Raises as `read` where it cannot be asked."""
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; run `snakemake {path}` to make it")
    with open_hdf5(path) as file:
        kind = file.attrs.get("kind")
    if kind is None:
        raise ValueError(f"{path} is HDF5 but no tagmask artifact; known kinds are {sorted(RECORDS)}")
    if kind not in RECORDS:
        raise ValueError(f"{path} is an artifact of kind {kind!r}; known are {sorted(RECORDS)}")
    return kind
