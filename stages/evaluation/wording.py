"""How reports put shares and treatments into numbers and words."""

import math
from typing import Any


def treatment(settings: Any) -> dict[str, str]:
    """How a report treated unusual annotations, in words."""
    void = {
        "background": "background: unlabelled pixels stay in the masks",
        "ignore": "ignore: unlabelled pixels are taken out of prediction and ground truth",
    }
    difficult = {
        "count": "count: as any other instance",
        "ignore": "ignore: neither they nor matches with them count (preset coco knows no such mark and counts them)",
    }
    return {
        "void": void[settings.void],
        "difficult": difficult[settings.difficult],
        "crowd": "not expected to be found; what overlaps nothing else and lies in one is ignored",
    }


def treatment_beside_masks(score_threshold: float) -> dict[str, str]:
    """How metrics of boxes and of painted instances treat unusual annotations, in words."""
    chosen = "all instances" if score_threshold == 0 else f"instances from score {score_threshold:g} on"
    return {
        "boxes": "difficult objects are not expected to be found, and matches with them do not count; CorLoc is of the"
        " training split",
        "semantic": f"{chosen} are painted, the best on top; unlabelled pixels do not count",
    }


def percent(share: float) -> float | None:
    """A share in percent for a report; None where it is not known (nan)."""
    return None if math.isnan(share) else 100 * float(share)


def shown(value: float | None) -> str:
    """A percentage with one decimal; a dash where it is not known."""
    return "-" if value is None else f"{value:.1f}"
