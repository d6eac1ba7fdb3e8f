"""JSON schema of config.yaml and of presets, for editors: keys, values and descriptions are offered while one types.

A preset holds some keys only, so that nothing is required; what the whole must have is checked by `load_project`.
"""

from typing import Any

from stages.project.defaults import BLOCKS, DEFAULTS
from stages.project.overlays import LIKE, NAMED
from stages.project.project import Project


def settings_schema() -> dict[str, Any]:
    """The schema, as JSON Schema 2020-12."""
    schema = _partial(Project.model_json_schema())
    sections, kinds = schema["properties"], schema["$defs"]
    for name in NAMED:
        for reference in _references(_entries(sections[name])):
            kinds[reference]["properties"][LIKE] = {
                "type": "string",
                "description": f"another entry of {name} that this one starts from; it says only what differs",
            }
    sections[DEFAULTS] = {
        "type": "object",
        "description": "blocks that every block of the same name starts from",
        "properties": {name: {"$ref": f"#/$defs/{block.__name__}"} for name, block in BLOCKS.items()},
        "additionalProperties": False,
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "config.yaml and presets of tagmask",
    }


def _partial(schema: Any) -> Any:
    """The schema in which no key is required and blocks of several kinds need not say theirs."""
    if isinstance(schema, list):
        return [_partial(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {}
    for key, value in schema.items():
        if key in ("properties", "$defs"):  # names, not words of the schema
            found[key] = {name: _partial(inner) for name, inner in value.items()}
        elif key == "oneOf":
            found["anyOf"] = _partial(value)
        elif key not in ("required", "discriminator", "title", "minProperties"):
            found[key] = _partial(value)
    return found


def _entries(mapping: dict[str, Any]) -> dict[str, Any]:
    """The schema of the entries of `Entries`."""
    named = mapping["anyOf"][0]
    (kind,) = (named.get("patternProperties") or {"": named["additionalProperties"]}).values()
    return kind


def _references(schema: dict[str, Any]) -> list[str]:
    """Names of the definitions that a schema refers to."""
    if "$ref" in schema:
        return [schema["$ref"].rpartition("/")[2]]
    return [name for option in schema.get("anyOf", []) for name in _references(option)]
