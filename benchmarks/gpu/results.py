"""Results of the parts as JSON, written after each number, and the table that is made of them.

python -m benchmarks.gpu.results gpu.json benchmarks/gpu.md
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from stages.core.artifacts.files import read_json, write_json, write_text

PARTS = ("tests", "limits", "proposals", "trainers", "animals")
COLUMNS = (  # those that say what a row is of, then the number that matters most
    "test", "what", "trainer", "backbone", "settings", "precision", "updates", "seconds", "limit", "images_per_second",
    "peak_GB", "share_waiting_for_data", "synchronisations_per_update", "synchronisations_per_pass",
)  # fmt: skip


class Results:
    """The JSON file of a run. One process at a time writes it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def start(self, **about: Any) -> None:
        """Begin a new file. Raises OSError where it cannot be written."""
        write_json(self.path, {"about": about, "parts": {}})

    def describe(self, **about: Any) -> None:
        content = read_json(self.path)
        write_json(self.path, content | {"about": content["about"] | about})

    def set(self, part: str, **values: Any) -> None:
        content = read_json(self.path)
        content["parts"].setdefault(part, {"results": []}).update(values)
        write_json(self.path, content)

    def add(self, part: str, **result: Any) -> None:
        """Keep a result of a part, at once."""
        content = read_json(self.path)
        content["parts"].setdefault(part, {"results": []})["results"].append(result)
        write_json(self.path, content)

    def read(self) -> dict[str, Any]:
        return read_json(self.path)


class Part:
    """Where one part leaves its results."""

    def __init__(self, results: Results, name: str) -> None:
        self._results, self.name = results, name

    def add(self, **result: Any) -> None:
        self._results.add(self.name, **result)

    def found(self) -> list[dict[str, Any]]:
        return self._results.read()["parts"].get(self.name, {}).get("results", [])


def table(content: dict[str, Any]) -> str:
    """Markdown of a run's results."""
    about = content["about"]
    parts = {name: content["parts"][name] for name in PARTS if name in content["parts"]}
    lines = ["# Measured on a device", ""]
    lines += [f"* {key}: {about[key]}" for key in sorted(about)]
    lines += ["", "| part | state | seconds |", "| --- | --- | --- |"]
    for name, part in parts.items():
        state = part.get("state", "killed with the run")
        why = f": {part['why']}" if part.get("why") else ""
        lines.append(f"| {name} | {state}{why} | {part.get('seconds', '')} |")
    for name, part in parts.items():
        results = part["results"]
        if results and "outcome" in results[0]:  # the JSON has each test
            outcomes = Counter(one["outcome"] for one in results)
            failed = [f"* failed: {one['test']}" for one in results if one["outcome"] == "failed"]
            lines += ["", f"## {name}", "", f"* {', '.join(f'{n} {word}' for word, n in outcomes.items())}", *failed]
        elif results:
            found = {key for one in results for key in one if not isinstance(one[key], dict)}
            columns = sorted(found, key=lambda key: (COLUMNS.index(key) if key in COLUMNS else len(COLUMNS), key))
            lines += ["", f"## {name}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
            lines += [f"| {' | '.join(_cell(one.get(key)) for key in columns)} |" for one in results]
    return "\n".join(lines) + "\n"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    return str(value).replace("|", "/").replace("\n", " ")


def main() -> None:
    """Write the table of a run that is over, or was ended."""
    parser = argparse.ArgumentParser(description="Write the Markdown table of a GPU benchmark's JSON.")
    parser.add_argument("results", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    try:
        write_text(arguments.output, table(read_json(arguments.results)))
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"the table is not written: {error}")


if __name__ == "__main__":
    main()
