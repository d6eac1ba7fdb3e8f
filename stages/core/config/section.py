"""The base of every configuration section: each key stands in config.yaml, nothing else is accepted."""

import json
from collections.abc import Callable, Hashable
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

# Name of an entry, which files are called after.
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def without_nulls(entries: Any) -> Any:
    """A mapping without its null entries; an empty one in place of null; anything else as it is."""
    if entries is None:
        return {}
    return (
        {name: entry for name, entry in entries.items() if entry is not None} if isinstance(entries, dict) else entries
    )


class _NullableSchema:
    """Says in the JSON schema of a mapping that it, and each of its entries, may be null."""

    def __get_pydantic_json_schema__(self, core: Any, handler: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
        schema = handler(core)
        place, keys = schema, ["additionalProperties"]
        if "patternProperties" in schema:
            place, keys = schema["patternProperties"], list(schema["patternProperties"])
        for key in keys:
            place[key] = {"anyOf": [place[key], {"type": "null"}]}
        return {"anyOf": [schema, {"type": "null"}]}


# Named entries. Files that lie on each other are merged key by key, so that only null can take something away: an entry
# that is null is left out, and a mapping that is null has no entries.
Entries = Annotated[dict[K, V], BeforeValidator(without_nulls), _NullableSchema()]


class Section(BaseModel):
    """A validated group of settings.

    Sections have no defaults: `config.yaml` holds every key, so what a run used can be read there. Unknown and
    missing keys, wrong types and impossible values are errors. Sections are immutable.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False, protected_namespaces=())

    def canonical(self) -> str:
        """The section as one JSON string with sorted keys: equal settings give equal strings."""
        return json.dumps(self.model_dump(mode="json"), sort_keys=True)

    @classmethod
    def parse(cls, text: str) -> Self:
        """A section from the JSON text that `canonical` writes. Raises pydantic.ValidationError."""
        return cls.model_validate_json(text)
