"""Settings of the stage `inspection`."""

from typing import Annotated, Literal

from pydantic import Field

from stages.core.config.section import Entries, Section

Share = Annotated[float, Field(ge=0, le=1)]


class GallerySettings(Section):
    """What the galleries of a data set show."""

    images: Annotated[int, Field(ge=1)] | None = Field(
        description="most images, chosen as `choice` says; null: all of the split"
    )
    choice: Literal["even", "worst", "best"] = Field(
        description="images where there are more: evenly over the split; those predicted worst or best, of known masks"
    )
    longer_side: int = Field(ge=64, le=4096, description="pixels; size of an image that is opened, and of its masks")
    thumbnail_side: int = Field(ge=64, le=1024, description="pixels; size of the images in the rows")
    jpeg_quality: int = Field(ge=10, le=100, description="quality of the images; larger is better and heavier")
    opacity: Share = Field(description="opacity of masks and maps at first; the page has a slider")
    proposals: int = Field(ge=1, description="most proposals of an image, best first")
    responses: int = Field(ge=1, description="most class response maps of an image, tagged classes first")
    predictions: int = Field(ge=1, description="most predictions of an image, best first")
    score_threshold: Share = Field(description="score from which a prediction is shown at first; the page has a slider")
    single_file: bool = Field(
        description="whether the page holds all its data, to be mailed; false: they stand in the folder data beside it"
    )


class InspectionSettings(GallerySettings):
    """Galleries, of which split they are, and what people have marked on them."""

    split: str | None = Field(
        min_length=1, description="split that the galleries show; null: the first of splits.evaluate, or its tiles"
    )
    marks: Entries[str, Annotated[str, Field(min_length=1)]] = Field(
        description="JSON that a person has saved from a run's gallery, by run; read by the target marks, and by what"
        " leaves out marked predictions (drop_marked)"
    )

    report_images: int = Field(
        ge=1, le=1000, description="images of each gallery in the report of Snakemake, of 0.1 MB each; evenly chosen"
    )

    @property
    def sample(self) -> GallerySettings:
        """The gallery of the report, which holds its images itself."""
        changed = {"images": self.report_images, "choice": "even", "single_file": True}
        return self.gallery.model_copy(update=changed)

    @property
    def gallery(self) -> GallerySettings:
        """What `build_gallery` reads."""
        return GallerySettings(**self.model_dump(include=set(GallerySettings.model_fields)))


class SuspectPageSettings(Section):
    """What the page of suspect tags shows; the list beside it has all."""

    rows: int = Field(ge=1, le=5000, description="suspects on the page, the most suspect, of about 15 kB each")
    longer_side: int = Field(ge=64, le=2048, description="pixels; size of each image on the page")
    jpeg_quality: int = Field(ge=10, le=100, description="quality of the images; larger is better and heavier")
