"""The parts of a setting's description: `[unit; ]effect [(source: value)]`.

For example "pixels; side of the square that an image is squashed to (PRM: 448, BESTIE: 384)".
"""

import re
from typing import NamedTuple

UNITS = {
    "pixels", "grid pixels", "features", "bins", "images", "seconds", "minutes", "GB", "degrees", "grey levels",
    "updates", "turns of the hue circle",
}  # fmt: skip
SOURCE = re.compile(
    r" \(((?:paper|official|equation|section|table|figure|algorithm|appendix|[A-Z][\w.+-]*(?=[ :,)]))[^()]*)\)$"
)


class Description(NamedTuple):
    """A description's parts; unit and source may be empty."""

    unit: str
    effect: str
    source: str


def parts_of(description: str) -> Description:
    """The parts of a description."""
    unit, semicolon, rest = description.partition("; ")
    unit, rest = (unit, rest) if semicolon and unit in UNITS else ("", description)
    source = SOURCE.search(rest)
    return Description(unit, rest[: source.start()] if source else rest, source[1] if source else "")
