"""Settings of the training loop, the same for every network."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from stages.core.config.section import Section


class ScheduleSettings(Section):
    """How the learning rate falls after the warm-up. All keys always stand, so that a preset can change the kind."""

    kind: Literal["step", "polynomial"] = Field(
        description="step: times `factor` at each of `drops`; polynomial: times (1 - update / steps) ** `power`"
    )
    drops: list[Annotated[int, Field(ge=1)]] = Field(description="updates, from 0; step only; empty: a constant rate")
    factor: float = Field(gt=0, le=1, description="step only")
    power: float = Field(gt=0, description="polynomial only")

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        if self.drops != sorted(set(self.drops)):
            raise ValueError(f"drops are {self.drops}; list them once each, in ascending order")
        return self


class TrainingSettings(Section):
    """How a network is trained."""

    steps: int = Field(ge=1, description="updates of the weights")
    accumulate: int = Field(ge=1, description="forward passes per update, over all devices")
    reduction: Literal["sum", "mean"] = Field(description="of the gradients of the accumulated passes")
    optimizer: Literal["sgd", "adam", "adamw"]
    learning_rate: float = Field(gt=0, description="after the warm-up")
    momentum: float = Field(ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(description="sgd only")
    betas: list[Annotated[float, Field(ge=0, lt=1)]] = Field(min_length=2, max_length=2, description="adam, adamw only")
    weight_decay: float = Field(ge=0)
    bias_lr_mult: float = Field(ge=0, description="learning rate of biases, times the rate of their module")
    bias_decay: bool = Field(description="whether biases decay")
    norm_decay: bool = Field(description="whether weights of normalisation layers decay")
    lr_mult: dict[str, Annotated[float, Field(ge=0)]] = Field(
        description="learning rate of the parameters whose name starts so, as a factor; the longest start wins"
    )
    schedule: ScheduleSettings
    warmup_steps: int = Field(ge=0, description="updates of linear warm-up; 0: none")
    warmup_factor: float = Field(gt=0, le=1, description="the rate's factor at update 0")
    scale_momentum_at_drops: bool = Field(
        description="multiply SGD's momentum by the factor of the step schedule at a drop, as Caffe2 does"
    )
    clip_gradient_norm: float | None = Field(gt=0, description="largest norm of the gradient of an update; null: off")
    ema_decay: float = Field(ge=0, lt=1, description="of the moving average of the weights that is kept; 0: off")
    precision: Literal["32", "bf16", "auto"] = Field(description="auto: bf16 on GPUs that have it, else 32")
    prefetch: int = Field(ge=0, description="batches made ahead in a background thread; changes no result")
    checkpoint_minutes: float = Field(gt=0, description="time between checkpoints")
    curve_steps: int = Field(ge=1, description="updates per point of the loss curves, and between log lines")

    @model_validator(mode="after")
    def _sgd_options(self) -> Self:
        if self.nesterov and not (self.optimizer == "sgd" and self.momentum > 0):
            raise ValueError("nesterov needs optimizer sgd and a momentum above 0")
        if self.scale_momentum_at_drops and (self.optimizer != "sgd" or self.schedule.kind != "step"):
            raise ValueError("scale_momentum_at_drops needs optimizer sgd and a step schedule")
        return self
