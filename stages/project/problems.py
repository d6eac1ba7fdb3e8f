"""What is wrong with a configuration, in sentences that begin with the path of a key."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from stages.core.config.section import Section
from stages.core.config.spelling import did_you_mean
from stages.project.former_names import RENAMED
from stages.project.places import fields_of, keys_of

EXPONENT = re.compile(r"[-+]?\d+(\.\d*)?[eE][-+]?\d+")


def unknown_key(path: str, known: Iterable[object]) -> str:
    """The problem of a key that does not exist, with its present or its nearest name, else with all that exist."""
    names = sorted(str(name) for name in known)
    key = path.rpartition(".")[2]
    if RENAMED.get(key) in names:
        return f"{path}: the key is now called `{RENAMED[key]}`; rename it"
    near = did_you_mean(key, names)
    return f"{path}: unknown key{near}" if near else f"{path}: unknown key; known are {names}"


def readable(
    error: ValidationError,
    root: type[Section],
    runs: Mapping[str, Any],
    overridden: Iterable[str],
    defaults: Mapping[str, str],
) -> list[str]:
    """The problems that pydantic found, one sentence each.

    Args:
        error: what pydantic says.
        root: the section that was validated.
        runs: the runs as the configuration has them; what they do not say is reported for the base section alone.
        overridden: keys of the top level that are completed in every run.
        defaults: paths of values that come from a block of defaults -> paths there.
    """
    lines = []
    for item in error.errors(include_url=False):
        keys = keys_of(root, item["loc"])
        inherited = len(keys) > 2 and keys[0] == "runs" and keys[2] in overridden
        if inherited and not _says(runs.get(keys[1]), keys[2:]):
            continue  # the same problem is reported for the base section
        if not keys and item["type"] == "value_error":
            lines += str(item["ctx"]["error"]).splitlines()  # the root's own checks name keys themselves
        else:
            path = ".".join(keys) or "config"
            lines.append(_sentence(item, defaults.get(path, path), root))
    return lines


def _sentence(item: Any, path: str, root: type[Section]) -> str:
    message, found = item["msg"], item.get("input")
    if item["type"] == "extra_forbidden":
        return unknown_key(path, fields_of(root, item["loc"][:-1]))
    if item["type"] == "missing":
        message = "missing key; config.yaml has every key"
    elif item["type"] in ("union_tag_invalid", "literal_error"):
        context = item["ctx"]
        found = context.get("tag", found)
        expected = re.findall(r"'([^']*)'", context.get("expected_tags") or context.get("expected", ""))
        message = f"{message}, found {found!r}" if item["type"] == "literal_error" else message
        message += did_you_mean(found, expected)
    elif not isinstance(found, dict | list) and item["type"] != "value_error":
        message = f"{message}, found {found!r}"
        if isinstance(found, str) and EXPONENT.fullmatch(found):
            message += " (a text for YAML: write 1.0e-4, with a point and a sign)"
    return f"{path}: {message}"


def _says(run: Any, keys: list[str]) -> bool:
    for key in keys:
        if not isinstance(run, dict) or key not in run:
            return False
        run = run[key]
    return True
