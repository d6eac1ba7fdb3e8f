"""Settings of the stage `inspection`."""

from typing import Annotated, Literal

from pydantic import Field

from stages.core.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class GallerySettings(Section):
    """What the gallery of a run shows."""

    images: int = Field(ge=1, le=1000, description="rows of the page; a row takes 0.2 to 0.4 MB")
    choice: Literal["even", "worst", "best"] = Field(
        description="which images: spread evenly over the split, or those with known masks whose instances are "
        "predicted worst or best (mean over instances of the best IoU with a prediction of their class)"
    )
    longer_side: int = Field(ge=64, le=2048, description="pixels of each image on the page")
    jpeg_quality: int = Field(ge=10, le=100, description="of the images: larger is better and heavier")
    opacity: Share = Field(description="of painted regions; their outlines are solid")
    proposals: int = Field(ge=1, description="most proposals painted, best first")
    responses: int = Field(ge=1, description="most class response maps of an image: tagged classes first")
    predictions: int = Field(ge=1, description="most predictions painted, best first")
    score_threshold: float = Field(ge=0, description="score from which a prediction is painted")
