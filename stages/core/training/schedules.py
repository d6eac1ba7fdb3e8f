"""The learning rate of each update."""

from stages.core.training.settings import TrainingSettings


def lr_factor(step: int, settings: TrainingSettings) -> float:
    """What the learning rate of update `step` (counted from 0) is multiplied by: warm-up times schedule."""
    return _warmup(step, settings) * _schedule(step, settings)


def momentum_factor(step: int, settings: TrainingSettings) -> float:
    """What SGD's momentum is multiplied by before update `step`; 1 except at a drop.

    Detectron corrects the momentum at a drop, which Caffe2 needs because there the rate is inside the momentum. The
    official CIM does so in PyTorch, where it is not, so that the momentum shrinks twice.
    """
    schedule = settings.schedule
    if settings.scale_momentum_at_drops and schedule.kind == "step" and step in schedule.drops:
        return schedule.factor
    return 1.0


def _warmup(step: int, settings: TrainingSettings) -> float:
    if step >= settings.warmup_steps:
        return 1.0
    done = step / settings.warmup_steps
    return settings.warmup_factor * (1 - done) + done


def _schedule(step: int, settings: TrainingSettings) -> float:
    schedule = settings.schedule
    if schedule.kind == "polynomial":
        return (1 - step / settings.steps) ** schedule.power
    return schedule.factor ** sum(step >= drop for drop in schedule.drops)
