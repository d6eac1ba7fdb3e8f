"""The base of every configuration section: each key stands in config.yaml, nothing else is accepted."""

import json
from typing import Self

from pydantic import BaseModel, ConfigDict


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
