"""Settings of the toy method."""

from pydantic import Field

from stages.core.config.section import Section


class MeanColourTrainingSettings(Section):
    """What training reads."""

    seed: int = Field(ge=0, description="of all that is random: nothing")


class MeanColourPredictionSettings(Section):
    """What prediction reads."""

    distance: float = Field(gt=0, description="grey levels; pixels this near to a class's colour belong to it")
    use_tags: bool = Field(description="only classes that the image is tagged with")


class MeanColourSettings(Section):
    """The section `mean_colour`."""

    train: MeanColourTrainingSettings
    predict: MeanColourPredictionSettings
