"""Settings of what leaves tagmask: exported masks, overlays, packed models."""

from typing import Annotated, Any, Literal

from pydantic import Field

from stages.core.config.section import Section

Share = Annotated[float, Field(ge=0, le=1)]


class SelectionSettings(Section):
    """Which instances of an image are exported. Instances without a pixel never are."""

    score_threshold: float = Field(ge=0, description="least score of an instance")
    top_k: int | None = Field(ge=1, description="most instances of an image, best first; null: all")
    tagged_only: bool = Field(description="only classes that the image is tagged with; a test server expects false")


class CocoFormSettings(Section):
    """How masks stand in COCO instances JSON."""

    segmentation: Literal["rle", "polygons"] = Field(
        description="rle: exact, compact; polygons: what CVAT and Label Studio edit"
    )
    polygon_tolerance: float = Field(
        ge=0, description="pixels; beside the outline; 0: the same pixels, with three times as many corners"
    )


class CocoExportSettings(Section):
    """What `export_coco` reads."""

    selection: SelectionSettings
    form: CocoFormSettings


class YoloFormSettings(Section):
    """How masks stand in YOLO labels, and images beside them."""

    parts: Literal["join", "split"] = Field(
        description="join: a line an instance, bridges of a pixel between its parts; split: a line a part, exact"
    )
    images: Literal["link", "copy"] = Field(
        description="link: symbolic links to the images; copy: images, to take to another machine"
    )


class YoloExportSettings(Section):
    """What `export_yolo` reads."""

    selection: SelectionSettings
    form: YoloFormSettings


class LabelStudioFormSettings(Section):
    """How tasks of Label Studio name images."""

    image_prefix: str = Field(description="what stands before the path of an image in its task, as in a URL")


class LabelStudioExportSettings(Section):
    """What `export_label_studio` reads."""

    selection: SelectionSettings
    form: LabelStudioFormSettings


class OverlayFormSettings(Section):
    """How an overlay looks."""

    longer_side: int | None = Field(ge=64, description="pixels; size of the drawn image; null: its own")
    jpeg_quality: int = Field(ge=10, le=100, description="quality of the image; larger is better and heavier")
    opacity: Share = Field(description="opacity of painted masks; their outlines are solid")


class OverlaySettings(Section):
    """What `export_overlays` reads."""

    selection: SelectionSettings
    form: OverlayFormSettings


class PackSettings(Section):
    """What `pack_model` reads: where the model comes from, and what it needs elsewhere."""

    dataset: str = Field(min_length=1, description="name of the data set that the model was trained on")
    run: str = Field(min_length=1, description="name of the run; <run>/<part>: of what is trained on top of it")
    part: str = Field(min_length=1, description="which key of `trained` takes the weights")
    method: str = Field(min_length=1, description="what the network is and who published it, for the model card")
    trained_by: str = Field(min_length=1, description="step that wrote the weights")
    semantics: str | None = Field(description="source of the semantic maps that were learned from; null: none were")
    train_split: str = Field(min_length=1, description="split that was trained on")
    splits: list[str] = Field(min_length=1, description="splits of the metrics, in the order of the files")
    code: dict[str, str] = Field(description="digests of the code that trained the network and that predicts with it")
    overlay: dict[str, Any] = Field(description="segment.yaml but for the classes, which the weights know")


class ExportsSettings(Section):
    """All exports."""

    predictions: SelectionSettings = Field(description="instances that go to all forms but results.json")
    pseudo_masks: SelectionSettings = Field(
        description="the same of pseudo masks, which were chosen when they were made"
    )
    results: SelectionSettings = Field(description="the same of results.json")
    coco: CocoFormSettings = Field(description="form of coco.json")
    yolo: YoloFormSettings = Field(description="form of yolo/")
    label_studio: LabelStudioFormSettings = Field(description="form of label_studio/")
    overlays: OverlayFormSettings

    def coco_of(self, kind: Literal["predictions", "pseudo_masks"]) -> CocoExportSettings:
        """What `export_coco` reads for predictions or pseudo masks."""
        return CocoExportSettings(selection=getattr(self, kind), form=self.coco)

    def yolo_of(self, kind: Literal["predictions", "pseudo_masks"]) -> YoloExportSettings:
        """What `export_yolo` reads for predictions or pseudo masks."""
        return YoloExportSettings(selection=getattr(self, kind), form=self.yolo)

    def label_studio_of(self, kind: Literal["predictions", "pseudo_masks"]) -> LabelStudioExportSettings:
        """What `export_label_studio` reads for predictions or pseudo masks."""
        return LabelStudioExportSettings(selection=getattr(self, kind), form=self.label_studio)

    def overlays_of(self, kind: Literal["predictions", "pseudo_masks"]) -> OverlaySettings:
        """What `export_overlays` reads for predictions or pseudo masks."""
        return OverlaySettings(selection=getattr(self, kind), form=self.overlays)
