"""Reads tables with a header: CSV with commas, semicolons or tabs."""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
HINT = re.compile(r"\Asep=.?(\r\n|\r|\n)", re.IGNORECASE)  # a first line that tells spreadsheets the separator
LONGEST_HEADER = 100_000  # characters


@dataclass(frozen=True)
class Row:
    """One row: the number of the line that it starts in, and its values by column, stripped."""

    line: int
    values: dict[str, str]

    def __getitem__(self, column: str) -> str:
        return self.values[column]


@dataclass(frozen=True)
class Table:
    """A table's file, its columns in lower case without spaces around, and its rows without the empty ones."""

    path: Path
    columns: list[str]
    rows: list[Row]


def read_table(path: Path, text: str, wanted: tuple[tuple[str, ...], ...], former: dict[str, str]) -> Table:
    """The rows of a table whose header has all columns of one of `wanted`, which lists alternatives.

    The separator is the one with which the header has them. `former` maps old names of columns to present ones.
    Rows without any value are left out. Raises ValueError naming file and line: columns missing or given twice,
    a row with fewer or more values, an open quote.
    """
    start, lines = _skip_hint(text)
    header, separator, first = _header(path, lines, start, wanted, former)
    rows = []
    for line, values in _records(path, lines, separator, start):
        if line <= first or not any(values):
            continue
        if len(values) != len(header):
            raise ValueError(_other_count(path, line, values, header, separator))
        rows.append(Row(line, dict(zip(header, values, strict=True))))
    return Table(path, header, rows)


def columns_of(text: str) -> list[set[str]]:
    """The columns of the first line with text, by each separator that it may have; empty for no text."""
    start = _skip_hint(text)[1].lstrip()[:LONGEST_HEADER]
    line = next(iter(start.splitlines()), "")
    return [set(_names(next(csv.reader([line], delimiter=s, skipinitialspace=True), []), {})) for s in SEPARATORS]


def _skip_hint(text: str) -> tuple[int, str]:
    hint = HINT.match(text)
    return (1, text[hint.end() :]) if hint else (0, text)


def _names(values: list[str], former: dict[str, str]) -> list[str]:
    names = [value.strip().lower() for value in values]
    return [former[name] if name in former and former[name] not in names else name for name in names]


def _header(
    path: Path, text: str, start: int, wanted: tuple[tuple[str, ...], ...], former: dict[str, str]
) -> tuple[list[str], str, int]:
    """The columns, the separator, and the number of the line that they stand in."""
    best: tuple[list[str], str, int] = ([], ",", 0)
    for separator in SEPARATORS:
        line, values = next(((n, v) for n, v in _records(path, text, separator, start) if any(v)), (0, []))
        names = _names(values, former)
        if any(set(columns) <= set(names) for columns in wanted):
            return _once(path, line, names), separator, line
        if len(names) > len(best[0]):
            best = names, separator, line
    expected = " or ".join(", ".join(columns) for columns in wanted)
    raise ValueError(
        f"{path} has the columns {', '.join(best[0]) or 'none'}, but needs {expected}. The first line must name the "
        "columns, separated by commas, semicolons or tabs"
    )


def _once(path: Path, line: int, names: list[str]) -> list[str]:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    if twice:
        raise ValueError(f"{path} line {line} names the column {', '.join(twice)} more than once; name each once")
    return names


def _records(path: Path, text: str, separator: str, start: int) -> Iterator[tuple[int, list[str]]]:
    """Number of the first line and stripped values of each record."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=separator, skipinitialspace=True, strict=True)
    while True:
        line = start + reader.line_num + 1
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise ValueError(
                f"{path} line {line}: a value that starts there cannot be read ({error}); look for a quote "
                "that is not closed, and write a quote inside a quoted value twice"
            ) from error
        yield line, [value.strip() for value in values]


def _other_count(path: Path, line: int, values: list[str], header: list[str], separator: str) -> str:
    return (
        f"{path} line {line} has {len(values)} values, expected {len(header)} ({', '.join(header)}) separated by "
        f"{SEPARATORS[separator]}; put a value that holds the separator into quotes"
    )
