"""Settings of the stage `evaluation`: one section for each of its steps."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section

Preset = Literal["voc", "cim", "sds"]
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


class ProposalReportSettings(GroundTruthSettings):
    """What `report_proposals` reports."""

    recall_thresholds: list[Overlap] = Field(
        min_length=1, description="IoU from which an instance counts as recalled (MCG: 0.5, 0.7, 0.85)"
    )
    average_recall_thresholds: list[Overlap] = Field(
        min_length=1, description="IoU over which recall is averaged (COCO: 0.5 to 0.95 by 0.05)"
    )


class ClusterLabelReportSettings(GroundTruthSettings):
    """What `report_cluster_labels` reports."""

    overlap: Overlap = Field(description="IoU with an instance of its class from which a labelled proposal is right")


class PseudoMaskReportSettings(GroundTruthSettings):
    """What `report_pseudo_masks` reports."""

    thresholds: list[Overlap] = Field(
        min_length=1, description="IoU with an instance of its class from which a pseudo mask is right"
    )


class EvaluationSettings(Section):
    """The config's section `evaluation`."""

    masks: MaskMetricsSettings = Field(description="of evaluate_instances")
    semantic: PaintedMetricsSettings = Field(description="of evaluate_instances: mIoU of the instances, painted")
    corloc: bool = Field(
        description="whether CorLoc is measured, for which every run predicts the training split, too; null without"
    )
    proposals: ProposalReportSettings = Field(description="of report_proposals")
    cluster_labels: ClusterLabelReportSettings = Field(description="of report_cluster_labels")
    pseudo_masks: PseudoMaskReportSettings = Field(description="of report_pseudo_masks")

    @property
    def instances(self) -> InstanceMetricsSettings:
        """The part that `evaluate_instances` reads."""
        return InstanceMetricsSettings(masks=self.masks, semantic=self.semantic)


class ComparisonSettings(Section):
    """What a comparison says of its runs."""

    trial: int | None = Field(ge=1, description="images; those of a trial; null: the full run")
    runs: dict[str, dict[str, Any]] = Field(description="all settings that each run reads, by the run's name")
