"""What steps cost: time and memory, as Snakemake's `benchmark:` files hold them."""

import csv
from dataclasses import dataclass
from pathlib import Path

UNKNOWN = ("NA", "-")  # Snakemake's words for jobs too short to measure


@dataclass(frozen=True)
class StepCost:
    """The last run of one step.

    Attributes:
        step: path of the benchmark file in its folder, without ending, such as "cim/train_cim".
        seconds: wall time.
        cpu_seconds: time of all processors together; None where the job was too short to measure.
        megabytes: peak resident memory, MB; None likewise.
    """

    step: str
    seconds: float
    cpu_seconds: float | None
    megabytes: float | None

    @property
    def rule(self) -> str:
        """Name of the step's rule."""
        return self.step.rpartition("/")[2].partition(".")[0]


def read_benchmarks(folder: Path) -> list[StepCost]:
    """Costs of all steps below `folder`, by name; none where there is no such folder.

    Raises ValueError naming a file that is none of Snakemake's.
    """
    costs = []
    for path in sorted(folder.rglob("*.tsv")):
        try:
            with path.open(newline="", encoding="utf-8") as file:
                entries = list(csv.DictReader(file, delimiter="\t"))
            if entries:
                last = entries[-1]
                step = path.relative_to(folder).with_suffix("").as_posix()
                costs.append(StepCost(step, float(last["s"]), _number(last, "cpu_time"), _number(last, "max_rss")))
        except (ValueError, KeyError, TypeError, csv.Error) as error:
            raise ValueError(f"{path} is no benchmark file of Snakemake ({error}); remove it") from error
    return costs


def _number(row: dict[str, str], column: str) -> float | None:
    text = row.get(column, "NA")
    return None if text in UNKNOWN else float(text)
