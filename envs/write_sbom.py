"""Writes envs/sbom.cdx.json: what tagmask is installed with and what needs what, a bill of materials (CycloneDX 1.6).

python -m envs.write_sbom          write it, from the packages of .venv
python -m envs.write_sbom --check  say whether it is what would be written

It has neither time nor serial number, so that equal packages give equal bytes.
"""

import importlib.metadata
import json
import sys
import tomllib
from typing import Any

from packaging.requirements import Requirement

from envs.packages import LISTS, ROOT, normal, pins
from envs.write_licences import installed_licences

TARGET = ROOT / "envs" / "sbom.cdx.json"
# What markers of dependencies ask for: that of envs/locked/, whatever machine this runs on.
PLACE = {
    "implementation_name": "cpython",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_system": "Linux",
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
}


def needs(name: str, extras: frozenset[str]) -> list[Requirement]:
    """What an installed package asks for with some of its extras."""
    found = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    return [
        one
        for one in found
        if one.marker is None or any(one.marker.evaluate(PLACE | {"extra": extra}) for extra in extras | {""})
    ]


def dependencies() -> dict[str, set[str]]:
    """What each package needs, directly, of all that requirements.txt leads to; `tagmask` stands for the project."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = [Requirement(line) for line in lines if line and not line.startswith("#")]
    found: dict[str, set[str]] = {"tagmask": {normal(one.name) for one in wanted}}
    todo, seen = [(normal(one.name), frozenset(one.extras)) for one in wanted], set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        asked = needs(name, extras)
        found.setdefault(name, set()).update({normal(one.name) for one in asked} - {name})
        todo += [(normal(one.name), frozenset(one.extras)) for one in asked]
    return found


def bill() -> dict[str, Any]:
    """The bill of materials. Exits where constraints.txt pins something that nothing asks for, or lacks something."""
    versions, licences, graph = pins(ROOT / LISTS["tagmask"]), installed_licences(), dependencies()
    if strangers := sorted(versions.keys() ^ (graph.keys() - {"tagmask"})):
        sys.exit(f"constraints.txt pins what nothing asks for, or lacks what something does: {', '.join(strangers)}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    references = {name: f"pkg:pypi/{name}@{version}" for name, version in versions.items()}
    references["tagmask"] = f"pkg:generic/tagmask@{project['version']}"
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": references["tagmask"],
                "name": project["name"],
                "version": project["version"],
                "description": project["description"],
                "licenses": [{"expression": project["license"]}],
                "purl": references["tagmask"],
            },
            "properties": [{"name": "tagmask:hashes", "value": "envs/locked/tagmask.txt, tagmask_sources.txt"}],
        },
        "components": [
            {
                "type": "library",
                "bom-ref": references[name],
                "name": name,
                "version": versions[name],
                "licenses": [{"expression": licences[name]}],
                "purl": references[name],
            }
            for name in sorted(versions)
        ],
        "dependencies": [
            {"ref": references[name], "dependsOn": sorted(references[one] for one in graph[name])}
            for name in sorted(graph)
        ],
    }


if __name__ == "__main__":
    text = json.dumps(bill(), indent=1, ensure_ascii=False) + "\n"
    if "--check" not in sys.argv:
        TARGET.write_text(text, encoding="utf-8")
    elif not TARGET.is_file() or TARGET.read_text(encoding="utf-8") != text:
        sys.exit(f"{TARGET.name} is not what is installed; run `make format`")
