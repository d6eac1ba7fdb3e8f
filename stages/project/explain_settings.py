"""Prints the complete settings of a run with the file that each value comes from.

    python -m stages.project.explain_settings --run cim --configfile presets/voc2012.yaml

The files are those of Snakemake's --configfile, in their order; config.yaml lies below them. What is printed is YAML:
the sections that the run reads, each value with its origin, such as `config.yaml, defaults.training`.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from stages.core.config.spelling import did_you_mean
from stages.core.config.yaml_files import load_yaml, parse_yaml
from stages.images.settings import Kind
from stages.project.defaults import DEFAULTS
from stages.project.overlays import LIKE, NAMED, merged
from stages.project.project import ConfigError, Project, load_project

ROOT = Path(__file__).parents[2]
COMMAND_LINE = "--config"
TRIAL = "trial"
ALWAYS = ("device", "gpus", "nodes", "scratch", "shards", "threads", TRIAL, "splits")
AFTER_IT = ("evaluation", "inspection", "exports")
COLUMN = 48


@dataclass(frozen=True)
class Layer:
    """A file, or the command line, with what it says."""

    name: str
    values: Mapping[str, Any]


class Origins:
    """Where values come from, by their path in the complete configuration."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = layers
        self.said: Any = {}
        for layer in layers:
            self.said = merged(self.said, layer.values)

    def of(self, path: Sequence[str]) -> str:
        """The last file that says the value, and the entry or block that it is taken from where it is another."""
        return self._of_entry(path) or self._of_default(path) or self._of_section(path) or "said nowhere: null"

    def _of_entry(self, path: Sequence[str]) -> str | None:
        """The origin of a value of a section or a named entry, or of the entries that this one is like."""
        if path[0] not in NAMED:
            return self._layer(path)
        section, name, *rest = path
        visited: list[str] = []
        while name is not None and name not in visited:
            found = self._layer([section, name, *rest])
            if found is not None:
                return f"{found}, {section}.{name}" if visited else found
            visited.append(name)
            entry = self.said.get(section, {}).get(name)
            name = entry.get(LIKE) if isinstance(entry, dict) else None
        return None

    def _of_default(self, path: Sequence[str]) -> str | None:
        for place in range(len(path) - 1, 0, -1):
            block = [DEFAULTS, *path[place:]]
            found = self._layer(block) if path[0] != "runs" else None
            if found is not None:
                return f"{found}, {DEFAULTS}.{path[place]}"
        return None

    def _of_section(self, path: Sequence[str]) -> str | None:
        """The origin of a value that a run takes from the section of the same name."""
        if path[0] != "runs" or len(path) < 3:
            return None
        section = path[2:]
        return self._of_entry(section) or self._of_default(section)

    def _layer(self, path: Sequence[str]) -> str | None:
        return next((layer.name for layer in reversed(self.layers) if _says(layer.values, path)), None)


def explain_settings(run: str, configfiles: Sequence[Path], config: Mapping[str, Any]) -> str:
    """The complete settings of a run as YAML, each value with its origin in a comment.

    Args:
        run: name of the run.
        configfiles: files over config.yaml, as Snakemake's --configfile takes them.
        config: what Snakemake's --config says.

    Raises ConfigError for a run that is not there, and for a configuration that cannot be used.
    """
    layers = [Layer(_shown(path), _read(path)) for path in (ROOT / "config.yaml", *configfiles)]
    origins = Origins([*layers, Layer(COMMAND_LINE, config)])
    project = load_project(origins.said, overlays=configfiles)
    if run not in project.runs:
        raise ConfigError(f"there is no run {run!r}; there are {list(project.runs)}{did_you_mean(run, project.runs)}")
    files = ", ".join(layer.name for layer in origins.layers if layer.values)
    lines = [f"# Settings of the run {run}, of {files}"]
    full = None if project.trial is None else load_project({**origins.said, TRIAL: None}, overlays=configfiles)
    for path, value in _leaves(_read_by(project, run), ()):
        text = f"{'  ' * (len(path) - 1)}{path[-1]}:"
        if isinstance(value, dict) and value:
            lines.append(text)
        else:
            origin = origins.of(path) if full is None else _of_trial(path, value, full, origins)
            lines.append(f"{f'{text} {scalar(value)}':<{COLUMN}}  # {origin}")
    return "\n".join(lines) + "\n"


def _of_trial(path: Sequence[str], value: Any, full: Project, origins: Origins) -> str:
    """The origin of a value of a trial: the trial where the full run has another, with that and its origin."""
    before: Any = full.model_dump(mode="json")
    known: list[str] = []
    for key in path:
        if isinstance(before, dict):
            before, known = before.get(key), [*known, key]
    if before == value or path == (TRIAL,):
        return origins.of(path)
    return f"{TRIAL}, in place of {scalar(before)}: {origins.of(known)}"


def _read_by(project: Project, name: str) -> dict[str, Any]:
    """The sections that a run reads: the run with its method's, what it names, and what is made of its results."""
    whole = project.model_dump(mode="json")
    run = project.comparison().runs[name]
    source = whole["semantics"].get(run.get("semantics"), {})
    named = {
        "proposals": [run.get("proposals")],
        "semantics": [run.get("semantics")],
        "classifier": [project.runs[name].classifier, source.get("cues")],
    }
    unused = set(get_args(Kind)) - {project.images.kind}
    entries = {section: _present(whole[section], names) for section, names in named.items()}
    return {
        **{section: whole[section] for section in ALWAYS},
        "images": {key: value for key, value in whole["images"].items() if key not in unused},
        **{section: found for section, found in entries.items() if found},
        **_borrowed_by(project, name, {**named, "cues": [run.get("cues")]}),
        "runs": {name: {key: value for key, value in whole["runs"][name].items() if key in run}},
        **({"tiles": whole["tiles"]} if project.images.tiling is not None else {}),
        **{section: whole[section] for section in AFTER_IT},
    }


def _borrowed_by(project: Project, run: str, named: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """What of a run, and of the entries that it names, another project has made."""
    found = {}
    for section, folders in project.borrow.model_dump(mode="json").items():
        own = [name for name in folders if name.partition("/")[0] == run]
        found[section] = _present(folders, named.get(section, own))
    found = {section: entries for section, entries in found.items() if entries}
    return {"borrow": found} if found else {}


def _present(entries: Mapping[str, Any], names: Iterable[Any]) -> dict[str, Any]:
    return {name: entries[name] for name in dict.fromkeys(names) if name in entries}


def _leaves(value: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """All paths in their order, of blocks, too."""
    if path:
        yield path, value
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from _leaves(inner, (*path, key))


def _says(values: Any, path: Sequence[str]) -> bool:
    for key in path:
        if not isinstance(values, Mapping) or key not in values:
            return False
        values = values[key]
    return True


def scalar(value: Any) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=float("inf"), allow_unicode=True)
    return text.removesuffix("...\n").strip()


def _shown(path: Path) -> str:
    full = path.resolve()
    return str(full.relative_to(ROOT)) if full.is_relative_to(ROOT) else str(path)


def _read(path: Path) -> dict[str, Any]:
    return load_yaml(path) or {}


def _setting(text: str) -> dict[str, Any]:
    """A `key=value` of --config."""
    key, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"expected key=value, found {text!r}")
    return {key: parse_yaml(value, f"--config {key}")}


def main() -> None:
    """Print the settings of a run; exit with 1 and a message where there are none."""
    parser = argparse.ArgumentParser(description="Prints the complete settings of a run with their origins.")
    parser.add_argument("--run", required=True, help="name of a run")
    parser.add_argument("--configfile", nargs="*", type=Path, default=[], help="files over config.yaml, in their order")
    parser.add_argument("--config", nargs="*", type=_setting, default=[], help="key=value over all files")
    arguments = parser.parse_args()
    config: Any = {}
    for setting in arguments.config:
        config = merged(config, setting)
    try:
        sys.stdout.write(explain_settings(arguments.run, arguments.configfile, config))
    except (ConfigError, OSError) as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
