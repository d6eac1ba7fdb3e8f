"""Runs that differ in their seeds alone, and their numbers as mean and spread."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

SEED = "seed"  # last part of the keys that may differ
ON_TOP = "retrain"  # key that names what is trained on top of a run, and with it a section of that name
ITERATES = "iterates"  # key that names another run; what that one is counts, not its name


@dataclass(frozen=True)
class Spread:
    """Numbers of n runs; `deviation` is that of a sample (n - 1), None for one run."""

    mean: float
    deviation: float | None
    least: float
    most: float
    n: int


def spread(values: Iterable[float | None]) -> Spread | None:
    """Mean and spread of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    if not known:
        return None
    deviation = statistics.stdev(known) if len(known) > 1 else None
    return Spread(statistics.fmean(known), deviation, min(known), max(known), len(known))


def part_settings(settings: dict[str, Any], part: str) -> dict[str, Any]:
    """What of a run's settings its part reads: what is trained on top of a run plays no role for any other part."""
    on_top = settings.get(ON_TOP)
    if part and part == on_top:
        return settings
    return {key: value for key, value in settings.items() if key not in (ON_TOP, on_top)}


def identity(runs: dict[str, dict[str, Any]], run: str) -> tuple[str, str]:
    """What a run is, and its seeds, both as text: runs of one identity differ in seeds alone.

    A run that it iterates counts by what that one is, so that runs on top of two seeds are two seeds as well.
    """
    settings, seeds = _without_seeds(runs[run])
    before = runs[run].get(ITERATES)
    if before in runs and before != run:
        rest = {name: part_settings(one, "") for name, one in runs.items() if name != run}  # never around in a circle
        settings[ITERATES], seeds[ITERATES] = identity(rest, before)
    return json.dumps(settings, sort_keys=True), json.dumps(seeds, sort_keys=True)


def seed_groups(runs: dict[str, dict[str, Any]], names: Iterable[str], part: str = "") -> list[list[str]]:
    """Those of `names` whose part is the same but for seeds, two or more in each group, in the order given.

    Of runs with equal seeds, too, the first alone counts: the others say nothing new.
    """
    read = {run: part_settings(settings, part) for run, settings in runs.items()}
    groups: dict[str, dict[str, str]] = {}
    for run in names:
        same, seeds = identity(read, run)
        groups.setdefault(same, {}).setdefault(seeds, run)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def seed_rows(rows: list[dict[str, Any]], runs: dict[str, dict[str, Any]], columns: list[str]) -> list[dict[str, Any]]:
    """A row for each group of seeds among the rows of a table, and for each part of its runs.

    Each holds `runs`, and `values` by column: a spread as a mapping, or None.
    """
    by_name = {row["run"]: row["values"] for row in rows}
    found = []
    for part in dict.fromkeys(name.partition("/")[2] for name in by_name):
        with_part = [run for run in runs if f"{run}/{part}".rstrip("/") in by_name]
        for group in seed_groups(runs, with_part, part):
            names = [f"{run}/{part}".rstrip("/") for run in group]
            spreads = {column: spread(by_name[name][column] for name in names) for column in columns}
            values = {column: asdict(one) if one else None for column, one in spreads.items()}
            found.append({"runs": names, "values": values})
    return found


def _without_seeds(value: Any) -> tuple[Any, Any]:
    """A setting without what its seeds are, and the seeds alone."""
    if not isinstance(value, dict):
        return value, None
    kept, seeds = {}, {}
    for key, inner in value.items():
        if key == SEED:
            seeds[key] = inner
            continue
        kept[key], below = _without_seeds(inner)
        if below:
            seeds[key] = below
    return kept, seeds
