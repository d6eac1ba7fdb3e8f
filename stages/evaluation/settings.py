"""Settings of the stage `evaluation`: one section for each of its steps."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from stages.core.config.section import Section
from stages.core.config.spelling import did_you_mean

Preset = Literal["voc", "cim", "sds"]
THRESHOLD_PRESETS = ("voc", "cim", "sds")  # of masks, at the thresholds of the settings
MASK_PRESETS = (*THRESHOLD_PRESETS, "coco")  # `coco` has thresholds of its own
BOX_PRESETS = ("voc07", "voc12")
COCO = ("AP", "AP50", "AP75", "APs", "APm", "APl", "AR1", "AR10", "AR100", "ARs", "ARm", "ARl")
Overlap = Annotated[float, Field(gt=0, lt=1)]


class GroundTruthSettings(Section):
    """How unusual annotations count."""

    void: Literal["background", "ignore"] = Field(
        description="unlabelled pixels; background: they stay in masks, which costs IoU (CIM, chainercv); ignore:"
        " they are taken out of both masks (MCG's benchmark)"
    )
    difficult: Literal["count", "ignore"] = Field(
        description="instances marked difficult; count: as any other, as benchmarks of masks do; ignore: nor do"
        " matches with them count (VOC's benchmark of boxes)"
    )


class MaskMetricsSettings(GroundTruthSettings):
    """What `evaluate_instances` reports."""

    thresholds: list[Overlap] = Field(
        min_length=1, description="IoU of the presets' mAP (CIM, BESTIE and Label-PEnet: those of their tables)"
    )
    curve_preset: Preset = Field(description="preset of the precision-recall curves of each class: voc, cim or sds")
    curve_threshold: Overlap = Field(
        description="IoU of the precision-recall curves of each class, one of `thresholds`"
    )

    @model_validator(mode="after")
    def _check_thresholds(self) -> Self:
        if sorted(set(self.thresholds)) != self.thresholds:
            raise ValueError(f"thresholds are {self.thresholds}; expected them ascending, each once")
        if any(abs(100 * t - round(100 * t)) > 1e-9 for t in self.thresholds):
            raise ValueError(f"thresholds are {self.thresholds}; expected whole percents, which name the metrics")
        if self.curve_threshold not in self.thresholds:
            raise ValueError(f"curve_threshold {self.curve_threshold} is none of thresholds {self.thresholds}")
        return self


class PaintedMetricsSettings(Section):
    """What `evaluate_instances` paints into a semantic map."""

    score_threshold: float = Field(
        ge=0, description="least score of an instance that is painted for mIoU, in the run's own units; 0: all"
    )


class InstanceMetricsSettings(Section):
    """What `evaluate_instances` reads: some sections of `evaluation` as one."""

    masks: MaskMetricsSettings
    semantic: PaintedMetricsSettings


class ChartsSettings(Section):
    """How `chart_instances` divides scores, overlaps and sizes."""

    score_bins: int = Field(ge=1, description="bins of equal width of the chart of how reliable scores are")
    overlap_bins: int = Field(ge=1, description="bins of equal width of the histogram of best IoU")
    size_groups: int = Field(
        ge=1, description="groups of equally many annotated instances by area, in each of which AP is measured"
    )


class ChartSettings(Section):
    """What `chart_instances` reads: some sections of `evaluation` as one."""

    masks: MaskMetricsSettings
    charts: ChartsSettings


class ProposalReportSettings(GroundTruthSettings):
    """What `report_proposals` reports."""

    recall_thresholds: list[Overlap] = Field(
        min_length=1, description="IoU from which an instance counts as recalled (MCG: 0.5, 0.7, 0.85)"
    )
    average_recall_thresholds: list[Overlap] = Field(
        min_length=1, description="IoU over which recall is averaged (COCO: 0.5 to 0.95 by 0.05)"
    )
    numbers: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, description="best proposals of each image, over which recall is plotted; larger ones: all"
    )

    @field_validator("numbers")
    @classmethod
    def _check_numbers(cls, numbers: list[int]) -> list[int]:
        if sorted(set(numbers)) != numbers:
            raise ValueError(f"numbers are {numbers}; expected them ascending, each once")
        return numbers


class ClusterLabelReportSettings(GroundTruthSettings):
    """What `report_cluster_labels` reports."""

    overlap: Overlap = Field(description="IoU with an instance of its class from which a labelled proposal is right")


class PseudoMaskReportSettings(GroundTruthSettings):
    """What `report_pseudo_masks` reports."""

    thresholds: list[Overlap] = Field(
        min_length=1, description="IoU with an instance of its class from which a pseudo mask is right"
    )


class ShownSettings(Section):
    """What a comparison shows first."""

    headline: str = Field(
        description="column of the number that matters most, such as mAP50 (voc), AP (coco), box AP50 (voc07), mIoU"
    )
    columns: list[str] = Field(description="columns beside it; all others are behind a click")

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        named = [self.headline, *self.columns]
        twice = sorted({column for column in named if named.count(column) > 1})
        if twice:
            raise ValueError(f"headline and columns name {', '.join(twice)} twice; name each column once")
        return self


class EvaluationSettings(Section):
    """The config's section `evaluation`."""

    masks: MaskMetricsSettings = Field(description="of evaluate_instances")
    semantic: PaintedMetricsSettings = Field(description="of evaluate_instances: mIoU of the instances, painted")
    corloc: bool = Field(
        description="whether CorLoc is measured, for which every run predicts the training split, too; null without"
    )
    charts: ChartsSettings = Field(description="of chart_instances")
    comparison: ShownSettings = Field(description="of compare_runs")
    proposals: ProposalReportSettings = Field(description="of report_proposals")
    cluster_labels: ClusterLabelReportSettings = Field(description="of report_cluster_labels")
    pseudo_masks: PseudoMaskReportSettings = Field(description="of report_pseudo_masks")

    @model_validator(mode="after")
    def _check_columns(self) -> Self:
        known = self.columns()
        problems = [
            f"comparison names the column {column!r}; there are {', '.join(known)}{did_you_mean(column, known)}"
            for column in (self.comparison.headline, *self.comparison.columns)
            if column not in known
        ]
        if self.comparison.headline == "CorLoc" and not self.corloc:
            problems.append("comparison.headline is CorLoc, which is not measured: set corloc to true")
        if problems:
            raise ValueError("\n".join(problems))
        return self

    def columns(self) -> list[str]:
        """All columns of a comparison, by the names that it gives them."""
        presets = [f"mAP{round(100 * t)} ({preset})" for preset in THRESHOLD_PRESETS for t in self.masks.thresholds]
        coco = [f"{name} (coco)" for name in COCO]
        boxes = [f"box AP50 ({preset})" for preset in BOX_PRESETS]
        return [*presets, *coco, "ABO (over instances)", "MABO (over classes)", *boxes, "CorLoc", "mIoU"]

    @property
    def instances(self) -> InstanceMetricsSettings:
        """The part that `evaluate_instances` reads."""
        return InstanceMetricsSettings(masks=self.masks, semantic=self.semantic)

    @property
    def charted(self) -> ChartSettings:
        """The part that `chart_instances` reads."""
        return ChartSettings(masks=self.masks, charts=self.charts)


class ComparisonSettings(Section):
    """What a comparison says of its runs."""

    trial: int | None = Field(ge=1, description="images; those of a trial; null: the full run")
    data: str = Field(description="kind of the data set, as in `images.kind`")
    shown: ShownSettings = Field(description="what stands first")
    steps: list[str] = Field(description="names of the rules, in the order of the pipeline")
    runs: dict[str, dict[str, Any]] = Field(description="all settings that each run reads, by the run's name")
    borrowed: dict[str, dict[str, Any]] = Field(
        description="settings with which borrowed artifacts would be made here, by section and name"
    )
