"""The overlay of a packed model: data of somebody else, which may say how to predict and nothing else.

A configuration names files to read and write, and a stranger's could name any. So an overlay called segment.yaml, or
one that lies in the folder TAGMASK_MODEL, is held to what `pack_model` writes: keys that prediction needs, weights in
its own folder, images and proposals where the user says that they are.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from stages.core.workflow.method import SOURCES
from stages.project.methods import METHODS
from stages.project.overlays import VARIABLE

IMAGES = "${TAGMASK_IMAGES}"
PROPOSALS = "${TAGMASK_PROPOSALS}"
FILE = "segment.yaml"
ADVICE = "set what you want to be different in an overlay of your own, after it"
WEIGHTS = re.compile(r"\$\{TAGMASK_MODEL\}/[A-Za-z0-9][A-Za-z0-9._-]*\.safetensors")
PLAIN = re.compile(r"[A-Za-z0-9 .,:+%()_-]*")  # names and words; no path, and nothing that a shell or a template reads
ANY = "*"
# Keys down to where anything that is plain may stand; ANY is any name.
ALLOWED = [
    ("splits", "train"),
    ("splits", "evaluate"),
    *(("runs", ANY, key) for key in ("method", "retrain", *SOURCES)),
    ("runs", ANY, "trained", ANY),
    *(("runs", ANY, name, "predict") for name in METHODS),
    *(("images", key) for key in ("name", "kind", "verify", "max_pixels", "classes")),
    *(("images", "folder", "splits", ANY, key) for key in ("images", "tags", "masks", "points")),
    ("images", "folder", "tiling"),
    ("proposals", ANY),
    ("semantics", ANY, "kind"),
    ("semantics", ANY, "weights"),
    ("semantics", ANY, "predict"),
    ("tiles",),
]


def is_packed(path: Path) -> bool:
    """Whether a configuration file is that of a packed model."""
    model = os.environ.get("TAGMASK_MODEL")
    return path.name == FILE or (bool(model) and path.resolve().parent == Path(str(model)).resolve())


def problems_of_packed(path: Path, content: Any) -> list[str]:
    """What a packed model's overlay must not say, in sentences that begin with the file."""
    if not isinstance(content, dict):
        return [f"{path}: holds no keys, expected what `pack_model` writes; get the model again"]
    return [
        f"{path}: {_shown(keys)} {problem}; a packed model says how to predict, with files in its own folder, and no"
        f" more: {ADVICE}"
        for keys, value in _leaves(content, ())
        if (problem := _problem(keys, value))
    ]


def _leaves(value: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _leaves(inner, (*keys, str(key)))
    elif isinstance(value, list):
        for inner in value or [None]:
            yield from _leaves(inner, keys)
    else:
        yield keys, value


def _problem(keys: tuple[str, ...], value: Any) -> str:
    """What is wrong with a value at a place, as the end of a sentence; empty where nothing is."""
    if any(not PLAIN.fullmatch(key) for key in keys) or not any(_fits(keys, value, allowed) for allowed in ALLOWED):
        return "is not a key that a packed model sets"
    if value is None:
        return ""
    match keys:
        case ("runs", _, "trained", _) | ("semantics", _, "weights"):
            right = isinstance(value, str) and WEIGHTS.fullmatch(value)
            return "" if right else f"is {value!r}, expected ${{TAGMASK_MODEL}}/NAME.safetensors"
        case ("images", "folder", "splits", _, "images"):
            return "" if value == IMAGES else f"is {value!r}, expected {IMAGES}"
        case ("images", "folder", "splits", _, _):
            return f"is {value!r}, expected null"
        case ("proposals", _, "path"):
            return "" if value == PROPOSALS else f"is {value!r}, expected {PROPOSALS}"
        case ("images", "classes"):
            return f"is {value!r}, which names a variable" if VARIABLE.search(str(value)) else ""
    plain = not isinstance(value, str) or PLAIN.fullmatch(value)
    return "" if plain else f"is {value!r}, expected a word or a number"


def _fits(keys: tuple[str, ...], value: Any, allowed: tuple[str, ...]) -> bool:
    """Whether the keys lead to an allowed place or below it, or are left out above it: null takes an entry away."""
    if len(keys) < len(allowed) and value is not None:
        return False
    return all(want in (ANY, key) for key, want in zip(keys, allowed, strict=False))


def _shown(keys: tuple[str, ...]) -> str:
    return ".".join(keys)[:200].encode("unicode_escape").decode()
