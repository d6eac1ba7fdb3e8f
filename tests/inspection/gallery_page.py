"""Reads a gallery as its script does: the page's words, its rows, and the layers of each image."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from stages.inspection.gallery.files import unpacked


class Words(HTMLParser):
    """Text, and names and addresses of elements, of a page; scripts and styles are left out of the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.names: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.addresses += [value or "" for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        if self.names[-1:] not in (["script"], ["style"]):
            self.words.append(data)


class GalleryPage:
    """A page that was written to `path`."""

    def __init__(self, path: Path) -> None:
        self.path, self.source = path, path.read_text(encoding="utf-8")
        words = Words(self.source)
        self.names, self.addresses = words.names, words.addresses
        self.text = " ".join(" ".join(words.words).split())
        head, rows = re.search(r'<script>start\("([^"]*)", "([^"]*)"\);</script>', self.source).groups()
        self.head: dict[str, Any] = unpacked(head)
        self.rows: list[dict[str, Any]] = unpacked(rows)

    def image(self, number: int = 0) -> dict[str, Any]:
        """The layers and pictures of an image."""
        file = self.path.parent / "data" / f"{number // 1000:03d}" / f"{number:06d}.js"
        text = file.read_text() if file.exists() else self.source
        found, packed = re.search(rf'tagmask\.put\(({number}), "([^"]*)"\);', text).groups()
        assert found == str(number)
        return unpacked(packed)

    def layers(self, number: int = 0) -> list[dict[str, Any]]:
        return self.image(number)["layers"]

    def titles(self, number: int = 0) -> list[str]:
        return [layer["title"] for layer in self.layers(number)]

    def layer(self, title: str, number: int = 0) -> dict[str, Any]:
        (found,) = [layer for layer in self.layers(number) if layer["title"] == title]
        return found


def masks(layer: dict[str, Any]) -> np.ndarray:
    """Masks (n, h, w) bool of a layer of regions, as the page draws them."""
    atoms = numbers(layer)
    return np.array([np.isin(atoms, region["atoms"]) for region in layer["regions"]]).reshape(-1, *atoms.shape)


def numbers(layer: dict[str, Any]) -> np.ndarray:
    """What the runs of a layer stand for, (h, w)."""
    lengths, values = np.array(layer["runs"]).reshape(-1, 2).T
    return np.repeat(values, lengths).reshape(layer["h"], layer["w"])


def as_text(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False)
