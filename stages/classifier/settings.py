"""Settings of the classifiers that are trained on tags, and of the cues that are read from them."""

from typing import Annotated, Literal, Self, TypeVar

from pydantic import Field, field_validator, model_validator

from stages.core.config.section import Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings
from stages.core.workflow.method import is_checkpoint

S = TypeVar("S", bound=Section)
Strength = Annotated[float, Field(ge=0, lt=1)]
Side = Annotated[int, Field(ge=32, le=4096)]
Interpolation = Literal["area", "pillow", "bicubic"]
SQUASHED = (
    "area: area averages where both sides shrink; pillow: Pillow's bilinear; bicubic: Pillow's bicubic, timm's for most"
    " networks (official codes: pillow)"
)


class PeakHeadSettings(Section):
    """PRM: the score of a class is the mean of its map's peaks (Zhou et al., CVPR 2018, equation 2)."""

    kind: Literal["prm"] = Field(description="scores are means of the peaks of the maps (PRM: equation 2)")
    upsampling: int = Field(ge=1, description="times the map is enlarged before peaks are sought (PRM: 8)")
    window: int = Field(ge=3, description="pixels; odd side of a peak's neighbourhood in the enlarged map (PRM: 3)")
    divide_gradient: bool = Field(
        description="peaks share the gradient; false: each gets the whole (official code: false)"
    )

    @model_validator(mode="after")
    def _window_has_a_middle(self) -> Self:
        return _check_odd(self, "window")


class AverageHeadSettings(Section):
    """CAM: the score of a class is the mean of its map."""

    kind: Literal["cam"] = Field(description="scores are means of the maps")


class AttentionHeadSettings(Section):
    """PAM: extra layers with peak attention, then the mean of the map (BESTIE, CVPR 2022, section 3.3)."""

    kind: Literal["pam"] = Field(
        description="extra layers with peak attention, then means of the maps (BESTIE: section 3.2)"
    )
    layers: int = Field(ge=1, description="extra 3x3 convolutions (BESTIE: 3)")
    channels: int = Field(ge=1, description="channels of each extra convolution (BESTIE: 512)")
    attention: Literal["last", "all"] = Field(
        description="layers that have peak attention: last or all (paper: last, official code: all)"
    )
    alpha: float = Field(
        ge=0, le=1, description="activations below alpha times their channel's maximum become 0 (BESTIE: 0.7 or 0.3)"
    )


class AugmentationSettings(Section):
    """How a training image is changed, in this order."""

    input_size: Side = Field(
        description="pixels; side of the square that an image is squashed to (PRM: 448, BESTIE: 384)"
    )
    interpolation: Interpolation = Field(description=SQUASHED)
    flip: float = Field(ge=0, le=1, description="probability that an image is mirrored")
    brightness: Strength = Field(description="factor drawn from 1 - x to 1 + x; 0: off (BESTIE: 0.3)")
    contrast: Strength = Field(description="factor drawn from 1 - x to 1 + x; 0: off (BESTIE: 0.3)")
    saturation: Strength = Field(description="factor drawn from 1 - x to 1 + x; 0: off (BESTIE: 0.3)")
    hue: float = Field(
        ge=0, le=0.5, description="turns of the hue circle; shift drawn from -x to x; 0: off (BESTIE: 0.1)"
    )
    crop_size: Side | None = Field(description="pixels; side of a random crop; null: the whole square (BESTIE: 321)")

    @model_validator(mode="after")
    def _crop_fits(self) -> Self:
        if self.crop_size is not None and self.crop_size > self.input_size:
            raise ValueError(f"crop_size {self.crop_size} is above input_size {self.input_size}")
        return self


class ClassifierTrainingSettings(Section):
    """The network and how it is trained."""

    seed: int = Field(ge=0, description="seed of all that is random: first weights, order of images, augmentation")
    head: Annotated[PeakHeadSettings | AverageHeadSettings | AttentionHeadSettings, Field(discriminator="kind")]
    backbone: BackboneSettings
    augmentation: AugmentationSettings
    batch: int = Field(ge=1, description="images; number per forward pass; an update sees batch x accumulate (PRM: 16)")
    training: TrainingSettings


class FoldsSettings(Section):
    """How the images are split so that each is judged by a classifier that has not seen it."""

    count: int = Field(ge=2, le=100, description="folds; trainings, each without the images of one fold")
    seed: int = Field(ge=0, description="seed of the choice of the folds")
    steps: int | None = Field(ge=1, description="updates; length of each training; null: that of the classifier")


class FoldTrainingSettings(ClassifierTrainingSettings):
    """What the training without one fold reads."""

    fold: int = Field(ge=0, description="number of the fold that is held out, counted from 0")
    folds: int = Field(ge=2, description="number of folds")
    fold_seed: int = Field(ge=0, description="seed of the choice of the folds")


class WindowPeaksSettings(Section):
    """Peaks as PRM and AGPL take them: maxima of the enlarged map that reach its median and a threshold."""

    kind: Literal["window"] = Field(
        description="local maxima of the enlarged map that reach its median and a threshold (PRM, AGPL)"
    )
    upsampling: int = Field(ge=1, description="times the response map is enlarged (PRM: 8)")
    window: int = Field(ge=3, description="pixels; odd side of a peak's neighbourhood in the enlarged map (PRM: 3)")
    threshold: float = Field(
        description="response above which a peak counts; a tagged class without one keeps its best peak"
    )
    relative: bool = Field(description="threshold is a share of the class's largest response; false: a logit (CIM: 10)")

    @model_validator(mode="after")
    def _window_has_a_middle(self) -> Self:
        if self.relative and not 0 <= self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}; a relative one is a share, from 0 to below 1")
        return _check_odd(self, "window")


class PooledPeaksSettings(Section):
    """Peaks as BESTIE takes them: maxima of the smoothed map at the image's size, normalised to 0..1."""

    kind: Literal["pooled"] = Field(
        description="local maxima of the smoothed map at the image's size, normalised to 0..1 (BESTIE)"
    )
    smoothing: int = Field(ge=1, description="pixels; odd side of the averaging window (BESTIE: 3)")
    window: int = Field(ge=3, description="pixels; odd side of a peak's neighbourhood (BESTIE: 15)")
    limit: int = Field(ge=1, description="peaks per class, the highest (BESTIE: 25)")
    threshold: float = Field(ge=0, le=1, description="least value of a peak (BESTIE: 0.1)")

    @model_validator(mode="after")
    def _windows_have_a_middle(self) -> Self:
        return _check_odd(_check_odd(self, "window"), "smoothing")


class CuesSettings(Section):
    """How response maps and peaks are read from a trained classifier."""

    input_sizes: list[Side] = Field(
        min_length=1, description="pixels; sides of the squares that an image is squashed to; the answers are averaged"
    )
    interpolation: Interpolation = Field(description=SQUASHED)
    flip: bool = Field(description="average with the answer for the mirrored image")
    batch: int = Field(ge=1, description="images; number per forward pass")
    peaks: Annotated[WindowPeaksSettings | PooledPeaksSettings, Field(discriminator="kind")]


class ClassifierSettings(Section):
    """One classifier: how it is trained, and how its cues are read."""

    trained: Annotated[str | None, Field(min_length=1)] = Field(
        description="finished weights in place of training: what train_classifier wrote, or a checkpoint (.pth) of the"
        " official code of PRM or BESTIE; null: trained here"
    )
    train: ClassifierTrainingSettings
    cues: CuesSettings

    def without_fold(self, fold: int, folds: FoldsSettings) -> FoldTrainingSettings:
        """What a training reads that leaves out a fold, counted from 0."""
        values = self.train.model_dump()
        if folds.steps is not None:
            values["training"]["steps"] = folds.steps
        return FoldTrainingSettings(**values, fold=fold, folds=folds.count, fold_seed=folds.seed)

    @field_validator("trained")
    @classmethod
    def _without_braces(cls, path: str | None) -> str | None:
        if path is not None and ("{" in path or "}" in path):
            raise ValueError(f"{path!r}: Snakemake reads braces as wildcards; rename the file or its folder")
        return path

    @model_validator(mode="after")
    def _has_an_official_code(self) -> Self:
        if is_checkpoint(self.trained) and self.train.head.kind not in ("prm", "pam"):
            raise ValueError(
                f"trained is {self.trained!r}, but no official code has a head of kind {self.train.head.kind!r}; there"
                " are prm and pam"
            )
        return self


def _check_odd(section: S, name: str) -> S:
    if getattr(section, name) % 2 == 0:
        raise ValueError(f"{name} is {getattr(section, name)}, expected an odd number, so that it has a middle")
    return section
