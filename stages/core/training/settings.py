"""Settings of the training loop, the same for every network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Entries, Section


class ScheduleSettings(Section):
    """How the learning rate falls after the warm-up. All keys always stand, so that a preset can change the kind."""

    kind: Literal["step", "polynomial"] = Field(
        description="step: times `factor` at each of `drops`; polynomial: times (1 - update / steps) ** `power`"
    )
    drops: list[Annotated[int, Field(ge=1)]] = Field(
        description="updates; where the rate falls, counted from 0; step only; empty: it stays"
    )
    factor: float = Field(gt=0, le=1, description="factor of the rate at each drop; step only")
    power: float = Field(gt=0, description="exponent of the fall; polynomial only")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.drops != sorted(set(self.drops)):
            raise ValueError(f"drops are {self.drops}; list them once each, in ascending order")
        return self


class TrainingSettings(Section):
    """How a network is trained."""

    steps: int = Field(ge=1, description="number of updates of the weights")
    accumulate: int = Field(ge=1, description="forward passes per update, over all devices")
    reduction: Literal["sum", "mean"] = Field(description="sum or mean of the gradients of the accumulated passes")
    optimizer: Literal["sgd", "adam", "adamw"] = Field(description="sgd, adam or adamw")
    learning_rate: float = Field(gt=0, description="learning rate after the warm-up")
    momentum: float = Field(ge=0, lt=1, description="share of the last step that the next one keeps; sgd only")
    nesterov: bool = Field(description="whether the momentum is Nesterov's; sgd only")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(
        min_length=2,
        max_length=2,
        description="shares kept by the moving averages of gradient and its square; adam, adamw only",
    )
    weight_decay: float = Field(
        ge=0, description="decay of weights, by the gradient (sgd, adam) or apart from it (adamw)"
    )
    bias_lr_mult: float = Field(ge=0, description="learning rate of biases, as a multiple of that of their module")
    bias_decay: bool = Field(description="whether biases decay")
    norm_decay: bool = Field(description="whether weights of normalisation layers decay")
    lr_mult: Entries[str, Annotated[float, Field(ge=0)]] = Field(
        description="factor on the learning rate by the start of a parameter's name; the longest start wins"
    )
    schedule: ScheduleSettings = Field(description="how the learning rate falls after the warm-up")
    warmup_steps: int = Field(ge=0, description="updates; length of the linear warm-up; 0: none")
    warmup_factor: float = Field(gt=0, le=1, description="factor of the learning rate at update 0")
    scale_momentum_at_drops: bool = Field(
        description="scale SGD's momentum at a drop, as Caffe2 does (official code of CIM: true)"
    )
    clip_gradient_norm: float | None = Field(gt=0, description="largest norm of the gradient of an update; null: off")
    ema_decay: float = Field(
        ge=0, lt=1, description="share of the moving average of the weights that an update keeps; 0: off"
    )
    precision: Literal["32", "bf16", "auto"] = Field(description="32, bf16, or auto: bf16 on GPUs that have it")
    prefetch: int = Field(ge=0, description="batches made ahead in a background thread; changes no result")
    checkpoint_minutes: float = Field(gt=0, description="minutes; time between checkpoints")
    curve_steps: int = Field(
        ge=1, description="updates; length of an interval of the loss curves, and between log lines"
    )

    @model_validator(mode="after")
    def _sgd_options(self) -> Self:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise ValueError("nesterov needs optimizer sgd and a momentum above 0")
        if self.scale_momentum_at_drops and (self.optimizer != "sgd" or self.schedule.kind != "step"):
            raise ValueError("scale_momentum_at_drops needs optimizer sgd and a step schedule")
        return self


def check_snapshots(snapshots: list[int], training: TrainingSettings) -> None:
    """Raise ValueError unless the updates after which weights are kept ascend and come before the last."""
    if snapshots != sorted(set(snapshots)) or max(snapshots, default=0) >= training.steps:
        raise ValueError(
            f"snapshots are {snapshots}; list them once each, in ascending order, below training.steps"
            f" ({training.steps}), after which the weights are written anyway"
        )
