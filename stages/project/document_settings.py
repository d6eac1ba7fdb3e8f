"""Writes what is known of the settings where people look for it, from their descriptions in the sections.

    python -m stages.project.document_settings      (part of `make format`)

That is the trailing comments of config.yaml, the tables of docs/settings.md and of docs/reproducing.md (what stands
above them is people's) and docs/settings.schema.json, which editors read.
"""

import json
from pathlib import Path

import yaml

from stages.project.settings_comments import with_comments
from stages.project.settings_compared import settings_compared
from stages.project.settings_page import settings_page
from stages.project.settings_schema import settings_schema

ROOT = Path(__file__).parents[2]
CONFIG = "config.yaml"
PAGE = "docs/settings.md"
REPRODUCING = "docs/reproducing.md"
SCHEMA = "docs/settings.schema.json"
MARK = "<!-- What follows is written by stages/project/document_settings.py: `make format`. -->"


def document_settings(root: Path) -> dict[str, str]:
    """The documents as they should be, by their paths in the project at `root`."""
    config = (root / CONFIG).read_text(encoding="utf-8")
    return {
        CONFIG: with_comments(config),
        PAGE: settings_page(_head(root / PAGE), yaml.safe_load(config)),
        REPRODUCING: f"{_head(root / REPRODUCING)}\n\n{settings_compared(root)}",
        SCHEMA: json.dumps(settings_schema(), indent=1, ensure_ascii=False) + "\n",
    }


def _head(page: Path) -> str:
    """What people have written above the tables, with the line that ends it."""
    head, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    if not mark:
        raise ValueError(f"{page} has no line {MARK!r}, under which the tables are written; put it back")
    return head + mark


if __name__ == "__main__":
    for path, text in document_settings(ROOT).items():
        (ROOT / path).write_text(text, encoding="utf-8")
