"""What a file of weights notes about itself: read with its types checked, each error naming the file."""

import json
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from stages.core.config.refusals import refusal
from stages.core.config.section import Section

S = TypeVar("S", bound=Section)
# What is noted under the names that several steps read.
TYPES: dict[str, TypeAdapter[Any]] = {
    "step": TypeAdapter(str),
    "method": TypeAdapter(str),
    "supervision": TypeAdapter(str),
    "classes": TypeAdapter(list[str]),
    "settings": TypeAdapter(dict[str, Any]),
    "inputs": TypeAdapter(dict[str, str]),
    "held_out": TypeAdapter(list[str]),
    "updates": TypeAdapter(list[int]),
}
REMEDY = "it is damaged, or no step of this version wrote it; make or fetch it again"


class Noted(dict[str, Any]):
    """What a file notes, by name. What it does not note raises ValueError with its name."""

    def __init__(self, path: Path, text: str) -> None:
        """Read the JSON text of a file. Raises ValueError naming the file where it is none, or a type is wrong."""
        self.path = path
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{path} notes about itself what is no JSON ({error}): {REMEDY}") from error
        if not isinstance(found, dict):
            raise ValueError(f"{path} notes {str(found)[:80]!r} about itself, expected an object: {REMEDY}")
        super().__init__(found)
        for name in TYPES.keys() & self.keys():
            try:
                TYPES[name].validate_python(self[name], strict=True)
            except ValidationError as error:
                raise ValueError(f"{path} notes {name} that are {refusal(error)}: {REMEDY}") from error

    def __missing__(self, name: str) -> Any:
        raise ValueError(f"{self.path} does not note its {name}: {REMEDY}")

    def setting(self, name: str) -> Any:
        """One of the settings that the file was made with. Raises ValueError where it is not among them."""
        if name not in self["settings"]:
            raise ValueError(f"{self.path} does not note its setting {name}: {REMEDY}")
        return self["settings"][name]

    def section(self, kind: type[S], *, name: str | None = None) -> S:
        """The settings that the file was made with, or one section among them.

        Raises ValueError naming the file where they are not those of this version of the step.
        """
        values = self["settings"] if name is None else self.setting(name)
        try:
            return kind.model_validate(values)
        except ValidationError as error:
            raise ValueError(f"{self.path} notes settings that do not fit, {refusal(error)}: {REMEDY}") from error
