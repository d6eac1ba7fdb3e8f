"""Settings of what is borrowed from other projects, and what the step reads of them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from stages.core.config.section import Entries, Name, Section


def _without_braces(folder: str) -> str:
    if not {"{", "}"}.isdisjoint(folder):
        raise ValueError(f"{folder!r}: Snakemake reads braces as wildcards; rename the folder")
    return folder


Folder = Annotated[str, Field(min_length=1), AfterValidator(_without_braces)]
PartOfRun = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*(/[A-Za-z0-9][A-Za-z0-9_-]*)*$")]
Kind = Literal["proposals", "cues", "semantics", "labels", "instances", "weights"]


class BorrowSettings(Section):
    """Results folders of other projects, by the name of what is taken from there."""

    proposals: Entries[Name, Folder] = Field(description="by source: the proposals of each split")
    classifier: Entries[Name, Folder] = Field(description="by classifier: its trained weights")
    cues: Entries[Name, Folder] = Field(
        description="by classifier, points or points_or_<classifier>: the cues of each split"
    )
    semantics: Entries[Name, Folder] = Field(description="by source: the semantic maps of each split")
    labels: Entries[PartOfRun, Folder] = Field(description="by <run>/<folder of the labels>: what a run is trained on")
    networks: Entries[PartOfRun, Folder] = Field(
        description="by run, or <run>/<what is on top>: the trained network; what it predicts is made here"
    )
    instances: Entries[PartOfRun, Folder] = Field(
        description="by run, or <run>/<what is on top>: the predictions of each split"
    )


class BorrowedSettings(Section):
    """What the step `borrow_artifact` reads."""

    name: str = Field(min_length=1, description="section and name of what is borrowed")
    kind: Kind = Field(description="what the artifact must be")
    made_by: str | None = Field(description="step that must have written it; null: any that writes its kind")
