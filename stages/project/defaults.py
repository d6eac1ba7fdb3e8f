"""Blocks that many sections have, said once.

Every block `training`, `backbone` or `crf`, wherever it stands, starts from the block of that name in `defaults` and
says only what differs. So a value comes from the first of these that has it: a run's override, the block itself as the
last file has it, the entry that it is `like`, the block in `defaults` as the last file has it.
"""

from typing import Any

from stages.core.config.crf import CrfSettings
from stages.core.config.section import Section
from stages.core.networks.settings import BackboneSettings
from stages.core.training.settings import TrainingSettings
from stages.project.overlays import merged
from stages.project.problems import unknown_key

DEFAULTS = "defaults"
BLOCKS: dict[str, type[Section]] = {"training": TrainingSettings, "backbone": BackboneSettings, "crf": CrfSettings}


def with_defaults(config: dict[str, Any], problems: list[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """The configuration without `defaults`, its blocks completed, and which paths came from which in `defaults`.

    Runs stay as they are: they override sections that are complete. What cannot be is added to the problems.
    """
    blocks = config.get(DEFAULTS) or {}
    rest = {section: value for section, value in config.items() if section != DEFAULTS}
    if not isinstance(blocks, dict):
        problems.append(f"{DEFAULTS}: is {blocks!r}, expected a block for each of {sorted(BLOCKS)}")
        return rest, {}
    problems += [unknown_key(f"{DEFAULTS}.{name}", BLOCKS) for name in blocks if name not in BLOCKS]
    blocks = {name: block for name, block in blocks.items() if name in BLOCKS and isinstance(block, dict)}
    taken: dict[str, str] = {}
    complete = {
        section: value if section == "runs" else _completed(value, section, blocks, taken)
        for section, value in rest.items()
    }
    return complete, taken


def _completed(value: Any, path: str, blocks: dict[str, Any], taken: dict[str, str]) -> Any:
    if not isinstance(value, dict):
        return value
    complete = {}
    for key, inner in value.items():
        if key in blocks and isinstance(inner, dict):
            _note(blocks[key], inner, f"{path}.{key}", f"{DEFAULTS}.{key}", taken)
            complete[key] = merged(blocks[key], inner)
        else:
            complete[key] = _completed(inner, f"{path}.{key}", blocks, taken)
    return complete


def _note(block: dict[str, Any], own: dict[str, Any], path: str, origin: str, taken: dict[str, str]) -> None:
    """Note the paths of the block that it does not say itself."""
    for key, value in block.items():
        if key not in own:
            taken[f"{path}.{key}"] = f"{origin}.{key}"
        if isinstance(value, dict) and isinstance(own.get(key, {}), dict):
            _note(value, own.get(key, {}), f"{path}.{key}", f"{origin}.{key}", taken)
