"""Prints what the lens found: lines for people, with bold headings on a terminal and plain everywhere else."""

import os
import sys
from collections.abc import Iterator
from typing import Any

LONGEST = 400  # letters of a value in a line; --json has all
LISTED = 12  # rows of classes and tensors
VALUES = 50  # of a JSON file


def print_lines(lines: list[str]) -> None:
    """Print lines; on a terminal the headings, which are not indented, are bold."""
    bold = sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    for line in lines:
        heading = bold and line and not line.startswith(" ")
        print(f"\033[1m{line}\033[0m" if heading else line)


def lines_of(found: dict[str, Any]) -> list[str]:
    """What `describe_artifact`, `describe_weights` or `describe_json` found, as lines."""
    writers = {"artifact": _of_artifact, "weights": _of_weights, "JSON": _of_json}
    return list(writers[found["what"]](found))


def size(count: int) -> str:
    """Bytes for people: 812 B, 4.1 kB, 2.0 GB."""
    amount, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if amount < 1000:
            break
        amount, unit = amount / 1000, larger
    return f"{count} B" if unit == "B" else f"{amount:.1f} {unit}"


def plain(value: Any, longest: int = LONGEST) -> str:
    """A value on one line, cut where it is long; letters that could steer a terminal are spelled out."""
    text = value if isinstance(value, str) else _written(value)
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
    return safe if len(safe) <= longest else f"{safe[:longest]} … ({len(safe)} letters)"


def _written(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "none"}[value]
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(item) if not isinstance(item, str) else item for item in value) + "]"
    if isinstance(value, dict):
        inner = ", ".join(f"{key}: {_written(item)}" for key, item in value.items())
        return "{" + inner + "}"
    return str(value)


def _of_artifact(found: dict[str, Any]) -> Iterator[str]:
    yield f"{plain(found['path'])}"
    yield f"  kind         {found['kind']}, schema {found['schema']}: {found['about']}"
    yield f"  images       {found['images']}"
    yield f"  size         {size(found['bytes'])}"
    yield f"  fingerprint  {found['fingerprint']}"
    yield "header"
    yield from _pairs(found["header"])
    yield "made by"
    made = found["made_by"]
    yield f"  step         {plain(made['step'])}" + (f", seed {made['seed']}" if made["seed"] >= 0 else "")
    yield f"  settings     {plain(made['settings'])}"
    if found["borrowed_from"] is not None:
        yield f"  borrowed     {plain(found['borrowed_from'])}"
    for name, entry in made["inputs"].items():
        yield f"  from         {plain(name)}: {entry['kind']}, fingerprint {entry['fingerprint']}"
    yield "fields"
    for field in found["fields"]:
        yield from _field(field)
    for name, counts in found["by_class"].items():
        yield f"by class ({name})"
        yield from _counts(counts)
    if found["sample"] is not None:
        yield from _sample(found["sample"])


def _field(field: dict[str, Any]) -> Iterator[str]:
    axes = "".join(f" x {axis}" for axis in ["images", *field["axes"]])[3:]
    yield f"  {field['name']}: {field['dtype']}, {axes}; {size(field['bytes'])}"
    yield f"      {plain(field['about'])}"
    told = []
    if "lengths" in field:
        for axis, length in zip(field["axes"], field["lengths"], strict=True):
            if length["least"] != length["largest"]:
                told.append(f"{axis} {length['least']} to {length['largest']}, median {length['median']:g}")
            elif isinstance(axis, str):
                told.append(f"{axis} {length['least']}")
        if field["empty_images"]:
            told.append(f"empty for {field['empty_images']} images")
    if "true" in field:
        told.append(f"{field['true']} of {field['values']} true")
    if "range" in field:
        told.append(_range(field))
    if told:
        yield f"      {'; '.join(told)}"


def _range(field: dict[str, Any]) -> str:
    found = field["range"]
    if found["least"] is None:
        text = "no numbers"
    else:
        text = f"{field['values']} numbers from {_written(found['least'])} to {_written(found['largest'])}"
    if found["looked_at"] < field["values"]:
        text += f" ({found['looked_at']} of them looked at)"
    return text + (f", {found['not_finite']} NOT FINITE" if found["not_finite"] else "")


def _counts(counts: dict[str, int]) -> Iterator[str]:
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    for name, count in ordered[:LISTED]:
        yield f"  {count:>9}  {plain(name, 60)}"
    if len(ordered) > LISTED:
        rest = ordered[LISTED:]
        yield f"  {sum(count for _, count in rest):>9}  in {len(rest)} more classes"


def _sample(sample: dict[str, Any]) -> Iterator[str]:
    yield f"sample: image {plain(sample['image'])} (number {sample['position']})"
    for name, value in sample["fields"].items():
        yield f"  {name:<15}{_short(value)}"
    for row in sample["objects"]:
        yield "  " + "  ".join(f"{key} {plain(value, 60)}" for key, value in row.items())
    if sample["more_objects"]:
        yield f"  and {sample['more_objects']} more objects"


def _short(value: dict[str, Any]) -> str:
    if "shape" not in value:
        return plain(value["value"])
    text = f"{value['dtype']} {'x'.join(map(str, value['shape']))}"
    if "value" in value:
        return f"{text}: {plain(value['value'])}" if value["value"] else text
    if "true" in value:
        return f"{text}: {value['true']} true"
    if value["least"] is None:
        return f"{text}: no finite number"
    return f"{text}: {_written(value['least'])} to {_written(value['largest'])}, mean {value['mean']:.4g}"


def _pairs(values: dict[str, Any]) -> Iterator[str]:
    for name, value in values.items():
        yield f"  {plain(name):<12} {plain(value)}"
    if not values:
        yield "  nothing"


def _of_weights(found: dict[str, Any]) -> Iterator[str]:
    yield f"{plain(found['path'])}"
    yield f"  weights      {len(found['tensors'])} tensors, {found['numbers']:,} numbers, {size(found['bytes'])}"
    yield f"  not finite   {found['not_finite']} numbers" + (": THE NETWORK IS BROKEN" if found["not_finite"] else "")
    yield "metadata"
    yield from _pairs(found["metadata"])
    yield "numbers by part"
    yield from _counts(found["numbers_by_part"])
    yield "largest tensors"
    for tensor in sorted(found["tensors"], key=lambda tensor: -tensor["numbers"])[:LISTED]:
        span = f", {tensor['least']:.4g} to {tensor['largest']:.4g}" if "least" in tensor else ""
        yield f"  {plain(tensor['name'])}: {tensor['dtype']} {'x'.join(map(str, tensor['shape'])) or 'scalar'}{span}"


def _of_json(found: dict[str, Any]) -> Iterator[str]:
    yield f"{plain(found['path'])}"
    yield f"  JSON         {len(found['values'])} values, {size(found['bytes'])}"
    yield "values"
    width = min(max((len(line["name"]) for line in found["values"]), default=0), 48)
    for line in found["values"][:VALUES]:
        if "items" not in line:
            text = plain(line["value"])
        elif "least" in line:
            text = f"{line['items']} numbers from {_written(line['least'])} to {_written(line['largest'])}"
        else:
            text = f"{line['items']} entries, the first: {plain(line['first'])}"
        yield f"  {plain(line['name']):<{width}}  {text}"
    if len(found["values"]) > VALUES:
        yield f"  and {len(found['values']) - VALUES} more, which --json has"
