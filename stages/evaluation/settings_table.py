"""Which settings differ between runs."""

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any


def differing_settings(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Settings by dotted key that at least two runs have with different values: {key: {run: value}}.

    A run that does not have the key (its method does not read it) has no entry there. Keys keep the config's order.
    """
    values: dict[str, dict[str, Any]] = {}
    for run, settings in runs.items():
        for key, value in flat_settings(settings).items():
            values.setdefault(key, {})[run] = value
    return {key: found for key, found in values.items() if len({repr(value) for value in found.values()}) > 1}


def own_settings(runs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Of each run the settings in which most runs of its method are otherwise: {run: {key: value}}.

    Where two values are equally frequent, the first run's counts as the usual one.
    """
    own: dict[str, dict[str, Any]] = {run: {} for run in runs}
    for method in dict.fromkeys(settings.get("method") for settings in runs.values()):
        alike = {run: settings for run, settings in runs.items() if settings.get("method") == method}
        for key, values in differing_settings(alike).items():
            usual = Counter(repr(values.get(run)) for run in alike).most_common(1)[0][0]
            for run in alike:
                if repr(values.get(run)) != usual:
                    own[run][key] = values.get(run)
    return own


def flat_settings(settings: dict[str, Any]) -> dict[str, Any]:
    """Settings by dotted key."""
    return dict(_leaves(settings, ""))


def setting_text(value: Any) -> str:
    """A setting's value as the configuration writes it."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def setting_cells(values: dict[str, Any], runs: list[str]) -> list[str]:
    """A setting's value in each run as text; a dash where the run has none."""
    return [setting_text(values[run]) if run in values else "-" for run in runs]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, value
