"""Settings of the semantics stage: where semantic maps come from, by named sources."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.crf import CrfSettings
from stages.core.config.section import Entries, Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1)]
Side = Annotated[int, Field(ge=32, le=8192)]
Strength = Annotated[float, Field(ge=0, lt=1)]
TRAINING = "training"  # stands for the split that is trained on, whatever its name
Splits = Annotated[list[str], Field(description="names of splits; training: the one that is trained on")]


class LabelSettings(Section):
    """Labels of pixels from class response maps (IRNet, CVPR 2019, section 3.4; cam_to_ir_label.py).

    Maps of the image's classes compete with background at a threshold, once a high one for confident foreground and
    once a low one for confident background; a dense CRF follows each. Pixels between are uncertain.
    """

    fg_threshold: Share = Field(
        description="share of a class's largest response above which a pixel is foreground (IRNet: 0.30)"
    )
    bg_threshold: Share = Field(
        description="share of it below which a pixel is background; between: uncertain (IRNet: 0.05)"
    )
    gt_prob: float = Field(
        gt=0.5, lt=1, description="probability with which the CRF takes the winner in a pixel to be right (IRNet: 0.7)"
    )
    longer_side: Side | None = Field(
        description="pixels; larger images are labelled at this size; null: at their own (IRNet)"
    )
    crf: CrfSettings

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.bg_threshold > self.fg_threshold:
            raise ValueError(f"bg_threshold {self.bg_threshold} is above fg_threshold {self.fg_threshold}")
        return self


class PyramidPoolingSettings(Section):
    """What stands on the backbone: atrous spatial pyramid pooling, with or without a finer stage (DeepLab-v3+)."""

    rates: list[Count] = Field(description="features; dilations of the 3x3 branches (DeepLab-v3: 6, 12, 18)")
    image_pooling: bool = Field(description="one more branch: the mean of the whole image (DeepLab-v3: true)")
    channels: Count = Field(description="channels of each branch and of the layers after them (DeepLab-v3: 256)")
    low_stage: int | None = Field(
        ge=0, description="earlier stage whose finer features are added; null: none (DeepLab-v3+: 1)"
    )
    low_channels: Count = Field(description="channels that its features are reduced to (DeepLab-v3+: 48)")
    dropout: float = Field(
        ge=0, lt=1, description="share of features that are dropped before the last layer (DeepLab-v3+: 0.1)"
    )


class SegmentationDataSettings(Section):
    """What one forward pass sees. The augmentations apply in this order."""

    longer_side: Side | None = Field(
        description="pixels; length that the longer side is scaled to; null: its own (DeepLab)"
    )
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        min_length=1, description="factors on the size, of which one is drawn (DeepLab: 0.5 to 1.5)"
    )
    crop: Side = Field(description="pixels; side of a random crop; smaller images are padded (DeepLab: 321)")
    flip: Share = Field(description="probability that the crop is mirrored (DeepLab: 0.5)")
    brightness: Strength = Field(description="factor drawn from 1 - x to 1 + x; 0: off (DeepLab)")
    contrast: Strength = Field(description="factor drawn from 1 - x to 1 + x; 0: off (DeepLab)")
    batch: int = Field(
        ge=2, description="images; number per forward pass; an update sees batch x accumulate (DeepLab: 10)"
    )


class SegmentationTrainingSettings(Section):
    """The segmentation network and how it is trained."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, augmentation")
    backbone: BackboneSettings
    head: PyramidPoolingSettings = Field(description="atrous spatial pyramid pooling (DeepLab-v3, v3+)")
    data: SegmentationDataSettings
    training: TrainingSettings

    @property
    def layers(self) -> dict[str, Any]:
        """What decides which weights the network has, and their shapes."""
        head = self.head.model_dump(include={"rates", "image_pooling", "channels", "low_stage", "low_channels"})
        return {"backbone": self.backbone.name, "stage": self.backbone.stage, **head}

    @model_validator(mode="after")
    def _low_stage_is_lower(self) -> Self:
        if self.head.low_stage is not None and self.head.low_stage >= self.backbone.stage:
            raise ValueError(
                f"head.low_stage is {self.head.low_stage}, not below backbone.stage {self.backbone.stage}; lower it, "
                "or set null"
            )
        return self


class SegmentationPredictionSettings(Section):
    """From the network to maps."""

    longer_side: Side | None = Field(description="pixels; length that the longer side is scaled to; null: its own")
    scales: list[Annotated[float, Field(gt=0, le=8)]] = Field(
        min_length=1, description="factors on the size; the probabilities of all are averaged (IRNet: 0.5, 1, 1.5, 2)"
    )
    flip: bool = Field(description="average with the mirrored image's probabilities at each scale")
    tagged_on: Splits = Field(
        description="splits on which only classes of an image's tags may win; training: that split"
    )
    crf: CrfSettings = Field(description="on the probabilities; 5 points of mIoU on the shapes")


class AgreementSettings(Section):
    """Labels where another source of maps and a run's instances agree; a network trained on them is a second round.

    No paper has it. A network over pixels and one over regions err in different places, so that what both say is right
    more often than what either says.
    """

    semantics: str = Field(min_length=1, description="name of the source whose maps of the training split are compared")
    run: str = Field(min_length=1, description="name of the run whose instances on that split they are compared with")
    score_share: Share = Field(
        description="instances count whose score is at least this share of the best of their class in the image"
    )


class NetworkSource(Section):
    """A segmentation network trained on labels of pixels: of a classifier's response maps, or of an agreement."""

    kind: Literal["network"] = Field(description="a segmentation network, trained on labels of pixels")
    cues: str = Field(
        min_length=1,
        description="name of the classifier whose response maps become labels, and whose weights the network may start"
        " from",
    )
    starts_from: Annotated[str, Field(min_length=1)] | None = Field(
        description="name of the source whose trained network this one goes on from, head and all; null: none"
    )
    labels: LabelSettings | None = Field(
        description="which pixels of the training split are learnt from (IRNet, CVPR 2019); null: those of `agreement`"
    )
    agreement: AgreementSettings | None = Field(
        description="in place of labels: pixels on which another source and a run's instances agree; null: off"
    )
    train: SegmentationTrainingSettings
    predict: SegmentationPredictionSettings

    @model_validator(mode="after")
    def _one_kind_of_labels(self) -> Self:
        if (self.labels is None) == (self.agreement is None):
            given = "both are null" if self.labels is None else "both are set"
            raise ValueError(f"labels and agreement: {given}; set one, and null for the other")
        return self


class WeightsSource(Section):
    """A segmentation network that was trained before, such as the one that comes with a packed model."""

    kind: Literal["weights"] = Field(description="a segmentation network that was trained before")
    weights: str = Field(min_length=1, description="safetensors file that train_semantics wrote")
    predict: SegmentationPredictionSettings


class CuesSource(Section):
    """The labels of pixels themselves as maps, without a network; uncertain pixels stay uncertain."""

    kind: Literal["cues"] = Field(
        description="the labels of pixels themselves, without a network; uncertain pixels stay uncertain"
    )
    cues: str = Field(min_length=1, description="name of the classifier whose response maps become labels")
    labels: LabelSettings
    tagged_on: Splits = Field(
        description="splits on which classes are those of the tags; elsewhere: with a score above 0"
    )


class PngSource(Section):
    """Import of maps that another method has made: `<image id>.png`, 8 bits per pixel."""

    kind: Literal["png"] = Field(description="import of maps of another method: <image id>.png, 8 bits per pixel")
    folders: Entries[str, Annotated[str, Field(min_length=1)]] = Field(description="folder of the maps of each split")
    class_values: dict[str, Annotated[int, Field(ge=1, le=254)]] | None = Field(
        description="value of each class in the maps; null: 1, 2, ... in the order of the classes; 0 and values of"
        " no class are background, 255 is uncertain"
    )
    supervision: str = Field(
        min_length=1, description="what labels the maps have seen; shown with the metrics of all that is made of them"
    )

    @model_validator(mode="after")
    def _values_differ(self) -> Self:
        values = list((self.class_values or {}).values())
        if len(set(values)) < len(values):
            raise ValueError(f"class_values gives one value to several classes: {self.class_values}")
        return self


class OracleSource(Section):
    """The annotated maps. What is made of them is supervised by masks, and says so: an upper bound, no method."""

    kind: Literal["oracle"] = Field(
        description="the annotated maps, an upper bound: what is made of them is supervised by masks"
    )


SemanticsSettings = Annotated[
    NetworkSource | WeightsSource | CuesSource | PngSource | OracleSource, Field(discriminator="kind")
]


class LabelPixelsSettings(Section):
    """What the step `label_pixels` reads."""

    labels: LabelSettings
    tagged_on: Splits = Field(
        description="splits on which classes are those of the tags; elsewhere: with a score above 0"
    )


class PngImportSettings(Section):
    """What the step `import_semantics` reads: a source as one split needs it."""

    folder: str = Field(min_length=1, description="holds <image id>.png")
    class_values: dict[str, int] | None = Field(description="as in PngSource")
    supervision: str = Field(min_length=1, description="as in PngSource")
