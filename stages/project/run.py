"""One run of the project: a method with its settings, what it takes from upstream, and whether it is refined."""

from typing import Annotated, Literal

from pydantic import Field

from stages.bestie.settings import BestieSettings
from stages.cim.settings import CimSettings
from stages.core.config.section import Section
from stages.mask_rcnn.settings import MaskRcnnSettings
from stages.prm.settings import PrmSettings

POINTS = "points"
REFINED = "mask_rcnn"  # folder of a run's refinement
OVERRIDDEN = ("cim", "prm", "bestie", "mask_rcnn")  # sections of which a run may override parts

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
Refinement = Annotated[
    Literal["none", "mask_rcnn"], Field(description="mask_rcnn: a Mask R-CNN is trained on the run's own masks")
]


class TrainedWeights(Section):
    """Weights that a run brings in place of training: safetensors files that the training steps wrote."""

    network: str | None = Field(min_length=1, description="file of the run's network; null: none is brought")
    mask_rcnn: str | None = Field(min_length=1, description="file of its Mask R-CNN; null: none is brought")


class Run(Section):
    """One run: a method, what it takes from upstream, and the method's settings after its overrides."""

    method: Literal["cim", "prm", "bestie"] = Field(description="how instances are found")
    proposals: Name | None = Field(description="name of a source in `proposals`; null: none are used (bestie)")
    semantics: Name | None = Field(description="name of a source in `semantics`; bestie only")
    iterates: Name | None = Field(
        description="bestie only: name of a run whose predictions on the training split are the pseudo instances, in"
        " place of semantic knowledge transfer (table 5); null: none"
    )
    cues: Name = Field(description="name of a head in `classifier`, or points (point supervision)")
    refinement: Refinement
    cim: CimSettings
    prm: PrmSettings
    bestie: BestieSettings
    mask_rcnn: MaskRcnnSettings
    trained: TrainedWeights

    @property
    def trains(self) -> bool:
        """Whether the run's network is trained here: it brings no weights."""
        return self.trained.network is None and self.trained.mask_rcnn is None

    @property
    def refines(self) -> bool:
        """Whether a Mask R-CNN is trained here on the run's masks."""
        return self.refinement == REFINED and self.trained.mask_rcnn is None

    @property
    def uses_classifier(self) -> bool:
        """Whether something is trained here that may take the cues of the run or their classifier."""
        return self.trains or (self.refines and self.mask_rcnn.train.backbone.weights == "classifier")

    @property
    def predicts(self) -> bool:
        """Whether the run's own instances are made: a brought Mask R-CNN alone needs neither them nor proposals."""
        return self.trains or self.trained.network is not None

    @property
    def uses_proposals(self) -> bool:
        """Whether the run chooses among proposals."""
        return self.predicts and self.method != "bestie"

    @property
    def uses_semantics(self) -> bool:
        """Whether something is trained here on semantic maps."""
        return self.trains and self.method == "bestie"

    def problems(self, *, sources: list[str], heads: list[str], semantics: list[str]) -> list[str]:
        """What cannot be, as ends of sentences that begin with the run's path; given the names that exist."""
        points, trains_cim = self.cues == POINTS, self.method == "cim" and self.trains
        bestie = self.method == "bestie"
        rules = [
            (
                self.uses_proposals and self.proposals not in sources,
                f".proposals is {self.proposals!r}; there are {sources}",
            ),
            (
                self.uses_semantics and self.semantics not in semantics,
                f".semantics is {self.semantics!r}; there are {semantics}",
            ),
            (
                not bestie and self.semantics is not None,
                f".semantics is set, but method {self.method} uses no semantic maps; leave it out",
            ),
            (
                not bestie and self.iterates is not None,
                f".iterates is set, but method {self.method} cannot; leave it out",
            ),
            (
                points and bestie and self.trains and self.bestie.train.backbone.weights == "classifier",
                ": cues are points, so bestie.train.backbone.weights cannot be 'classifier'",
            ),
            (
                self.uses_classifier and self.cues not in heads,
                f".cues is {self.cues!r}; there are {heads}",
            ),
            (
                self.method == "prm" and points,
                ": method prm needs a classifier's response maps, not points",
            ),
            (
                self.method == "prm" and self.trained.network is not None,
                ".trained.network: method prm has no network of its own; leave it out",
            ),
            (
                self.refinement != REFINED and self.trained.mask_rcnn is not None,
                ".trained.mask_rcnn is set, but refinement is not mask_rcnn; set both",
            ),
            (
                points and trains_cim and self.cim.agpl.votes == "response",
                ": cues are points, which have no response maps; set cim.agpl.votes: equal",
            ),
            (
                points and trains_cim and self.cim.train.backbone.weights == "classifier",
                ": cues are points, so backbone.weights cannot be 'classifier'",
            ),
            (
                points and self.refines and self.mask_rcnn.train.backbone.weights == "classifier",
                ": cues are points, so mask_rcnn.train.backbone.weights cannot be 'classifier'",
            ),
        ]
        return [text for broken, text in rules if broken]
