"""Reads YAML files that people bring, within limits: an alias may hold itself, or stand for ten times ten times ten."""

from pathlib import Path
from typing import Any

import yaml

DEEPEST = 50  # mappings and lists within each other
MOST_VALUES = 1_000_000  # with what aliases stand for counted each time


def load_yaml(path: Path) -> Any:
    """The content of a YAML file in UTF-8.

    Raises FileNotFoundError, and ValueError naming the file where it is no YAML, or `check_extent` refuses it.
    """
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist; set the path of the YAML file") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}); set the path of a YAML file") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not YAML in UTF-8 ({error}); save it as UTF-8") from error


def parse_yaml(text: str, name: str) -> Any:
    """The content of YAML text; `name` begins messages. Raises ValueError as `load_yaml` does."""
    try:
        content = yaml.safe_load(text)
    except RecursionError as error:
        raise ValueError(f"{name} is nested too deeply; expected {DEEPEST} levels at most") from error
    # SafeLoader leaves it to Python what a value such as a date 2026-99-99 raises.
    except (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError) as error:
        what = " ".join(str(error).split())[:200]
        raise ValueError(f"{name} is not YAML ({what}); mend it") from error
    check_extent(content, name)
    return content


def check_extent(content: Any, name: str) -> None:
    """Raise ValueError where content is nested too deeply, holds itself, or has too many values, aliases spelt out."""
    todo, values = [(content, 0)], 0
    while todo:
        value, depth = todo.pop()
        values += 1
        if depth > DEEPEST:
            raise ValueError(
                f"{name} is nested more than {DEEPEST} levels deep, or an alias in it holds itself; mend it"
            )
        if values > MOST_VALUES:
            raise ValueError(f"{name} has more than {MOST_VALUES} values once its aliases are spelt out; mend it")
        if isinstance(value, dict):
            todo += [(part, depth + 1) for pair in value.items() for part in pair]
        elif isinstance(value, list | tuple | set):
            todo += [(part, depth + 1) for part in value]
