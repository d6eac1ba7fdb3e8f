"""Step `compare_runs`: the numbers of several runs side by side."""

import dataclasses
import logging
from pathlib import Path

from stages.core import step
from stages.core.artifacts.files import read_json, write_json, write_text
from stages.evaluation.table import build_tables, markdown

log = logging.getLogger(__name__)


def compare_runs(*, metrics: list[Path], output_markdown: Path, output_json: Path) -> None:
    """Put the metrics of several runs side by side, one table a split.

    Args:
        metrics: metrics.json of each run and split, in the order of the rows.
        output_markdown: the tables to read.
        output_json: the tables to compute with, in percent, null where unknown.

    Raises:
        ValueError: runs on a split were measured on different pictures or with different treatment, or given twice.
    """
    tables = build_tables({path: read_json(path) for path in metrics})
    text = "\n".join(markdown(table) for table in tables)
    write_json(output_json, {"tables": [dataclasses.asdict(table) for table in tables]})
    write_text(output_markdown, text)
    log.info("%s", text.rstrip())


if __name__ == "__main__":
    step.run(compare_runs)
