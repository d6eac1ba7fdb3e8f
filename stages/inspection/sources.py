"""The artifacts of a run on a split that a gallery shows, open for reading."""

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from stages.core.artifacts.centre_maps import CentreMaps
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import Picture
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals
from stages.core.artifacts.pseudo_instances import PseudoInstances
from stages.core.artifacts.records import Record
from stages.core.artifacts.refined_labels import RefinedLabels
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Artifact, read

KINDS: dict[str, type[Record]] = {
    "images": Picture,
    "proposals": Proposals,
    "semantics": SemanticMaps,
    "semantic_cues": Cues,
    "cues": Cues,
    "cluster_labels": ClusterLabels,
    "pseudo_instances": PseudoInstances,
    "refined_labels": RefinedLabels,
    "maps": CentreMaps,
    "instances": Instances,
    "refined": Instances,
    "ground_truth": GroundTruth,
}
OF_THE_RUN = ("pseudo_instances", "refined_labels", "maps")  # whose header names the run of the predictions


@dataclass(frozen=True)
class Sources:
    """What there is; None where the run's method has no such thing.

    Attributes:
        images, cues, instances, ground_truth: of every run.
        proposals: what the run chooses among.
        semantics: maps that it is trained on.
        semantic_cues: of the classifier that those come from, where it is another than that of the cues.
        cluster_labels: AGPL's.
        pseudo_instances, refined_labels, maps: BESTIE's accepted components, refined labels, centres and offsets.
        refined: instances of the run's Mask R-CNN.
    """

    images: Artifact[Picture]
    cues: Artifact[Cues]
    instances: Artifact[Instances]
    ground_truth: Artifact[GroundTruth]
    proposals: Artifact[Proposals] | None = None
    semantics: Artifact[SemanticMaps] | None = None
    semantic_cues: Artifact[Cues] | None = None
    cluster_labels: Artifact[ClusterLabels] | None = None
    pseudo_instances: Artifact[PseudoInstances] | None = None
    refined_labels: Artifact[RefinedLabels] | None = None
    maps: Artifact[CentreMaps] | None = None
    refined: Artifact[Instances] | None = None

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.images.header["classes"]

    def check(self) -> None:
        """Raise ValueError where an artifact has other classes, lacks a picture, or is of another run."""
        for other in (getattr(self, name) for name in KINDS if getattr(self, name) is not None):
            if other.header.get("classes", self.classes) != self.classes:
                raise ValueError(
                    f"{other.path} has the classes {other.header['classes']}, but {self.images.path} has "
                    f"{self.classes}; make both from the same images.h5"
                )
            missing = set(self.images.ids) - set(other.ids)
            if missing:
                raise ValueError(
                    f"{other.path} lacks {len(missing)} of the {len(self.images)} pictures of {self.images.path}, such "
                    f"as {min(missing)!r}; make both from the same split's images.h5"
                )
        run = self.instances.header["run"]
        for other in (getattr(self, name) for name in OF_THE_RUN if getattr(self, name) is not None):
            if other.header["run"] != run:
                raise ValueError(
                    f"{other.path} is of run {other.header['run']!r}, the predictions are of {run!r}; give those of "
                    "one run"
                )

    def found(self, name: str, picture: str) -> Record | None:
        """The record of a picture in one of the artifacts; None where there is no such artifact."""
        artifact = getattr(self, name)
        return None if artifact is None else artifact.find(picture)


@contextlib.contextmanager
def opened(paths: Mapping[str, Path | None]) -> Iterator[Sources]:
    """Open the artifacts at paths by their names in `Sources`, and check that they belong together."""
    with contextlib.ExitStack() as stack:
        found = {name: stack.enter_context(read(path, KINDS[name])) for name, path in paths.items() if path is not None}
        sources = Sources(**found)
        sources.check()
        yield sources
