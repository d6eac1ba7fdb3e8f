"""A trial: the whole graph on a sample of the images with fewer updates, minutes before hours.

    snakemake -c2 --config trial=50

It is a function of the checked settings, so that it works for every preset: the data set becomes a sample of it under a
name of its own, and every training is shortened by one rule. Nothing else differs.
"""

from collections.abc import Iterator
from typing import Any, TypeVar

from stages.core.config.section import Section
from stages.core.training.settings import TrainingSettings
from stages.images.settings import ImagesSettings, SampleSettings
from stages.project.descriptions import parts_of

S = TypeVar("S", bound=Section)
FULL = 400  # images from which on a trial has all updates
FEWEST = 30  # updates of a training, where it has as many
PASSES = 10  # updates for each image of the sample, at most
SEED = 0  # of the sample, where the data set is none yet
UPDATES = "updates"  # unit of the settings that are shortened along


def as_trial(project: S, images: int) -> S:
    """The project on a sample of so many images of each split, with shorter trainings.

    Args:
        project: the checked configuration, a `Project`.
        images: images of the sample.
    """
    changed = shortened(project, images)
    return type(project).model_validate({**changed.model_dump(), "images": sampled(changed.images, images)})  # type: ignore[attr-defined]


def sampled(settings: ImagesSettings, images: int) -> dict[str, Any]:
    """The data set as its sample: `<name>-trial<images>`; a sample that it already is only becomes smaller."""
    seed = SEED if settings.sample is None else settings.sample.seed
    count = images if settings.sample is None else min(images, settings.sample.count)
    sample = SampleSettings(count=count, seed=seed)
    return settings.model_dump() | {"name": f"{settings.name}-trial{images}", "sample": sample.model_dump()}


def trial_steps(steps: int, images: int) -> int:
    """Updates of a training in a trial of so many images, of those that it has.

    They grow with the sample, images / 400 of them, at least 30, at most 10 for each image, and never more than all.
    """
    return min(steps, max(FEWEST, min(round(steps * images / FULL), PASSES * images)))


def shortened(value: Any, images: int, steps: tuple[int, int] = (1, 1)) -> Any:
    """Settings whose trainings are shortened, and with them all that is counted in updates.

    A section that has a training, or stands in one that has, counts in the updates of that training: warm-up, drops of
    the rate, intervals of the curves, snapshots. `steps` are the updates of that training, all and shortened.
    """
    if isinstance(value, dict):
        return {key: shortened(inner, images, steps) for key, inner in value.items()}
    if not isinstance(value, Section):
        return value
    training = value if isinstance(value, TrainingSettings) else getattr(value, "training", None)
    if isinstance(training, TrainingSettings):
        steps = training.steps, trial_steps(training.steps, images)
    changes = {name: shortened(inner, images, steps) for name, inner in value}
    changes |= {name: _scaled(getattr(value, name), steps) for name in _in_updates(value)}
    if changes.get("steps") is not None:
        changes["steps"] = trial_steps(value.steps, images)
    return value.model_copy(update=changes)


def _in_updates(section: Section) -> Iterator[str]:
    for name, field in type(section).model_fields.items():
        if parts_of(field.description or "").unit == UPDATES:
            yield name


def _scaled(value: int | list[int], steps: tuple[int, int]) -> int | list[int]:
    """Updates of a training in the shortened one; of a list those that come before its end, each once."""
    full, short = steps
    if isinstance(value, list):
        return sorted({scaled for one in value if (scaled := max(1, round(one * short / full))) < short})
    return value and max(1, round(value * short / full))
