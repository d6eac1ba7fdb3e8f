"""metrics.json, as those read it who did not measure: the parts that they use, each of its type."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeInt, ValidationError

from stages.core.artifacts.files import read_json
from stages.core.config.refusals import refusal

Number = float | None  # None: not measured


class _Open(BaseModel):
    """Holds more than it says."""

    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class _Masks(_Open):
    """Best overlaps, and the numbers of each preset."""

    __pydantic_extra__: dict[str, dict[str, Number]]

    ABO: Number = None
    MABO: Number = None


class _Preset(_Open):
    AP50: Number


class _Boxes(_Open):
    voc07: _Preset
    voc12: _Preset


class _Semantic(_Open):
    mIoU: Number


class _Metrics(_Open):
    run: str
    split: str
    n_images: NonNegativeInt
    masks: _Masks
    boxes: _Boxes
    corloc: Number
    semantic: _Semantic
    # Not all of those who read it need these.
    method: str = ""
    supervision: str = ""
    dataset: str = ""
    units: str = ""
    n_instances: NonNegativeInt = 0
    treatment: dict[str, str] = {}


def read_metrics(path: Path, *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """The content of a metrics.json of `evaluate_instances`; `also` are further keys that must be there.

    Raises FileNotFoundError, and ValueError naming the file where it is something else or is damaged.
    """
    found = read_json(path)
    try:
        _Metrics.model_validate(found)
        missing = [key for key in also if key not in found]
        problem = f"it lacks {', '.join(missing)}" if missing else ""
    except ValidationError as error:
        problem = refusal(error)
    if problem:
        raise ValueError(f"{path} is no metrics.json of evaluate_instances: {problem}; evaluate again")
    return found


def mask_presets(metrics: dict[str, Any]) -> list[str]:
    """Names of the presets by which masks were measured; the last of the alphabet, "voc", first."""
    return sorted((name for name, values in metrics["masks"].items() if isinstance(values, dict)), reverse=True)


def box_presets(metrics: dict[str, Any]) -> list[str]:
    """Names of the presets by which boxes were measured, which stand beside counts."""
    return sorted(name for name, values in metrics["boxes"].items() if isinstance(values, dict))


def metric_columns(metrics: dict[str, Any]) -> dict[str, Number]:
    """The numbers of a metrics.json by the names that tables give them, such as "mAP50 (voc)".

    Those of masks come first, of these the ones that need no preset last, then those of boxes and of painted instances.
    """
    masks = metrics["masks"]
    found: dict[str, Number] = {}
    for preset in mask_presets(metrics):
        found |= {f"{name} ({preset})": value for name, value in masks[preset].items()}
    means = {"ABO": "over instances", "MABO": "over classes"}
    found |= {f"{name} ({mean})": masks[name] for name, mean in means.items() if name in masks}
    for preset in box_presets(metrics):
        found |= {f"box {name} ({preset})": value for name, value in metrics["boxes"][preset].items()}
    return found | {"CorLoc": metrics["corloc"], "mIoU": metrics["semantic"]["mIoU"]}
