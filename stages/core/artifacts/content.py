"""Digest of what an artifact holds: equal content has equal fingerprints, whenever and wherever it was made."""

import hashlib
import json
from typing import Any

import numpy as np

from stages.core.artifacts.records import Record


class Digest:
    """Digest of an artifact's kind, header and values, in the order in which they are written."""

    def __init__(self, record: type[Record], header: dict[str, Any]) -> None:
        self._sha = hashlib.sha256(f"{record.KIND}/{record.SCHEMA}/{json.dumps(header, sort_keys=True)}".encode())

    def add_text(self, field: str, values: list[str]) -> None:
        """Count the texts of some images."""
        self._sha.update(json.dumps([field, values]).encode())

    def add_values(self, field: str, flat: np.ndarray, shapes: np.ndarray | None) -> None:
        """Count the values of some images, flat; `shapes` (images, axes) int32 of a field with axes."""
        self._sha.update(field.encode())
        self._sha.update(flat.data)
        if shapes is not None:
            self._sha.update(shapes.tobytes())

    @property
    def fingerprint(self) -> str:
        """Of all that was counted so far."""
        return self._sha.hexdigest()[:32]
