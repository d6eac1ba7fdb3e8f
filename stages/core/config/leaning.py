"""How instances that a network has found lean on the semantic maps of a source."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.section import Name, Section

Weight = Annotated[float, Field(ge=0)]


class LeaningSettings(Section):
    """The CRF that masks pass, the maps that it and the scores lean on, and how much."""

    crf: CrfSettings
    semantics: Name | None = Field(
        description="name of a source in `semantics` whose maps masks and scores lean on; null: none (paper: none)"
    )
    map_weight: Weight = Field(
        description="what the CRF adds to a pixel's logit where the map has the instance's class, and takes away where"
        " not; 0: the map says nothing of masks"
    )
    map_power: Weight = Field(
        description="power of the IoU of an instance's mask and all pixels of its class in the map, by which its score"
        " is multiplied; 0: the map says nothing of scores (paper: 0)"
    )
    best_power: Weight = Field(
        description="power of an instance's score over the best of its image, by which it is multiplied; 0: off"
        " (paper: 0)"
    )

    @property
    def masks_lean(self) -> bool:
        """Whether masks do: the CRF is where."""
        return self.map_weight > 0 and self.crf.iterations > 0

    @property
    def reads_maps(self) -> bool:
        """Whether prediction needs the maps."""
        return self.map_power > 0 or self.masks_lean

    @property
    def maps(self) -> str | None:
        """Name of the source of the maps that prediction reads; None: it reads none."""
        return self.semantics if self.reads_maps else None

    @model_validator(mode="after")
    def _maps_are_named(self) -> Self:
        if self.semantics is None and (self.map_weight > 0 or self.map_power > 0):
            raise ValueError(
                f"map_weight is {self.map_weight} and map_power {self.map_power}, but semantics is null; name a source"
                " of maps, or set both to 0"
            )
        return self
