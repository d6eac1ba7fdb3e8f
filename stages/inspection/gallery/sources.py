"""The artifacts of a run on a split that a gallery shows, open for reading."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.images import ImageRecord, check_images
from stages.core.artifacts.instances import Instances
from stages.core.artifacts.kinds import read_any
from stages.core.artifacts.storage import Artifact, read
from stages.inspection.gallery.kinds import LAYERS


@dataclass(frozen=True)
class Sources:
    """What a page is made of.

    Attributes:
        images: the split.
        artifacts: what is shown, in the order of the panels.
        ground_truth: annotated instances of the split.
    """

    images: Artifact[ImageRecord]
    artifacts: list[Artifact[Any]]
    ground_truth: Artifact[GroundTruth]

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.images.header["classes"]

    @property
    def instances(self) -> Artifact[Instances]:
        """The run's own predictions: the first ones."""
        return next(artifact for artifact in self.artifacts if artifact.kind == Instances.KIND)

    @property
    def joint(self) -> bool:
        """Whether the page is of several runs: predictions alone, of more than one."""
        runs = {artifact.header["run"].partition("/")[0] for artifact in self.artifacts if "run" in artifact.header}
        return len(runs) > 1 and all(artifact.kind == Instances.KIND for artifact in self.artifacts)

    def check(self) -> None:
        """Raise ValueError where an artifact has no panel, has other classes, lacks an image, or is of another run."""
        strange = [artifact for artifact in self.artifacts if artifact.kind not in LAYERS]
        if strange:
            raise ValueError(
                f"{strange[0].path} is an artifact of kind {strange[0].kind!r}, of which there is no panel; give those "
                f"of {sorted(LAYERS)}"
            )
        if not any(artifact.kind == Instances.KIND for artifact in self.artifacts):
            raise ValueError("no predictions are given; a gallery needs the run's instances.h5 among its artifacts")
        for other in [*self.artifacts, self.ground_truth]:
            self._check_belongs(other)

    def _check_belongs(self, other: Artifact[Any]) -> None:
        if other.header.get("classes", self.classes) != self.classes:
            raise ValueError(
                f"{other.path} has the classes {other.header['classes']}, but {self.images.path} has "
                f"{self.classes}; make both from the same images.h5"
            )
        check_images(self.images, other, remedy="make both from the same split's images.h5")
        run = self.instances.header["run"]
        # Cues and maps that runs share name no run; the parts of a run are <run>/<part>.
        if not self.joint and other.header.get("run", run).partition("/")[0] != run.partition("/")[0]:
            raise ValueError(
                f"{other.path} is of run {other.header['run']!r}, the predictions are of {run!r}; give the artifacts of"
                " one run, or the predictions of several and nothing else"
            )


@contextlib.contextmanager
def opened(images: Path, artifacts: list[Path], ground_truth: Path) -> Iterator[Sources]:
    """Open the artifacts and check that they belong together."""
    with contextlib.ExitStack() as stack:
        sources = Sources(
            images=stack.enter_context(read(images, ImageRecord)),
            artifacts=[stack.enter_context(read_any(path)) for path in artifacts],
            ground_truth=stack.enter_context(read(ground_truth, GroundTruth)),
        )
        sources.check()
        yield sources
