"""What has been read from sources, kept beside the bytecode, so that the next invocation need not parse them again."""

import contextlib
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Kept:
    """Answers by name and content, in a JSON file that may be missing, damaged or read-only: then they are made again.

    Attributes:
        path: the file.
        key: what the answers depend on beside the content; other answers in the file are dropped.
    """

    def __init__(self, path: Path, *, made_by: list[Path]) -> None:
        """`made_by`: the sources that make the answers from a content."""
        self.path = path
        self.key = _hashed(repr(sys.version_info).encode(), *(source.read_bytes() for source in made_by))
        self._answers = self._loaded()
        self._new = False

    def answer(self, name: str, content: bytes, make: Callable[[], Any]) -> Any:
        """The kept answer to a content of that name, or what `make` gives, a JSON value, which is kept."""
        digest = _hashed(content)
        known = self._answers.get(name)
        if known is not None and known[0] == digest:
            return known[1]
        made = make()
        self._answers[name] = digest, made
        self._new = True
        return made

    def save(self) -> None:
        """Write new answers, if there are any and the folder takes them."""
        if not self._new:
            return
        self._new = False
        unfinished = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(exist_ok=True)
            unfinished.write_text(json.dumps({"key": self.key, "answers": self._answers}))
            unfinished.replace(self.path)

    def _loaded(self) -> dict[str, tuple[str, Any]]:
        with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
            kept = json.loads(self.path.read_bytes())
            if kept["key"] == self.key:
                return {name: (digest, answer) for name, (digest, answer) in kept["answers"].items()}
        return {}


def _hashed(*contents: bytes) -> str:
    digest = hashlib.sha256()
    for content in contents:
        digest.update(hashlib.sha256(content).digest())
    return digest.hexdigest()
