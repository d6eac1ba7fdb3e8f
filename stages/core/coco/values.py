"""Single values of COCO's JSON as people write them: numbers may be text, what cannot be meant is refused.

The errors name the key and the value; who reads the file adds where the value stands.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from stages.core.coco.json_files import shown

Entry = Mapping[str, Any]
WHOLE = re.compile(r"[+-]?[0-9]{1,30}(\.0*)?", re.ASCII)
ID_BITS = 63
LARGEST = 2.0**31  # pixels; no file of an image counts further
FLAGS = {"0": False, "1": True, "false": False, "true": True, "0.0": False, "1.0": True, "": False}


def integer(value: Any) -> int | None:
    """A whole number, also one written as 3.0 or "3"; None for anything else."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else None
    if isinstance(value, str) and WHOLE.fullmatch(value.strip()):
        return int(value.strip().split(".")[0])
    return None


def identity(entry: Entry, key: str) -> int | str:
    """An id: a whole number, also one that is written as text; other text stays text.

    Raises ValueError for other types, for empty text, and beyond 64 bits.
    """
    value = entry[key]
    number = integer(value)
    if number is not None:
        if abs(number) >> ID_BITS:
            raise ValueError(f"{key} is {shown(value)}, beyond 64 bits")
        return number
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise ValueError(f"{key} is {shown(value)}, expected a whole number or text")


def number(entry: Entry, key: str) -> float | None:
    """A finite number, which may be written as text; None where it is absent or null."""
    value = entry.get(key)
    return None if value is None else _finite(value, f"{key} is")


def flag(entry: Entry, key: str) -> bool:
    """Whether a flag is set: 0, 1, false, true, also as text; absent or null: it is not."""
    value = entry.get(key)
    found = FLAGS.get(str(value).strip().lower()) if isinstance(value, str | int | float) else None
    if value is None:
        return False
    if found is None:
        raise ValueError(f"{key} is {shown(value)}, expected 0 or 1")
    return found


def side(entry: Entry, key: str) -> int | None:
    """A side of an image in pixels; None where it is absent or null."""
    value = entry.get(key)
    if value is None:
        return None
    pixels = integer(value)
    if pixels is None or pixels < 1:
        raise ValueError(f"{key} is {shown(value)}, expected pixels, or null where it is not known")
    return pixels


def text(entry: Entry, key: str) -> str:
    """Text that is not empty."""
    value = entry[key]
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{key} is {shown(value)}, expected text")
    return value


def box(entry: Entry, key: str) -> tuple[float, float, float, float] | None:
    """A box (x, y, width, height); None where it is absent, null or empty."""
    value = entry.get(key)
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 4:
        raise ValueError(f"{key} is {shown(value)}, expected x, y, width, height")
    x, y, width, height = numbers = [_finite(part, f"{key} has") for part in value]
    if max(map(abs, numbers)) > LARGEST:
        raise ValueError(f"{key} is {shown(value)}, larger than any image")
    if width < 0 or height < 0:
        raise ValueError(f"{key} is {shown(value)}, whose width or height is below 0")
    return x, y, width, height


def _finite(value: Any, what: str) -> float:
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{what} {shown(value)}, expected a finite number")
    return found
