"""Lays panels side by side on a sheet, each with its title and notes: arrays in, a PNG out."""

import io
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from stages.core.artifacts.files import write_bytes
from stages.inspection.lens.painted import Panel

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

GAP = 12  # pixels between panels, and around them
LINE = 20  # pixels from line to line
SWATCH = 12  # pixels; side of the square in the colour that a note speaks of
TITLE, TEXT = 15, 13  # sizes of letters in pixels
PAPER, INK, PALE = (255, 255, 255), (20, 20, 20), (90, 90, 90)
ACROSS = 4  # panels in a row


def write_sheet(path: Path, title: str, panels: list[Panel]) -> None:
    """Write a PNG with the panels, at most four in a row, below a title; whole or not at all."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(sheet(title, panels)).save(buffer, "PNG")
    write_bytes(path, buffer.getvalue())


def sheet(title: str, panels: list[Panel]) -> np.ndarray:
    """The panels as one image (H, W, 3) uint8."""
    from PIL import Image, ImageDraw

    height, width = panels[0].image.shape[:2]
    column = max(width, 200)
    rows = [panels[start : start + ACROSS] for start in range(0, len(panels), ACROSS)]
    heights = [height + LINE * (1 + max(len(_lines(p, column)) for p in row)) + GAP for row in rows]
    columns = min(len(panels), ACROSS)
    page = Image.new("RGB", (columns * (column + GAP) + GAP, sum(heights) + LINE + 2 * GAP), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((GAP, GAP), _fitting(title, page.width - 2 * GAP, TITLE), INK, _font(TITLE))
    top = GAP + LINE + GAP // 2
    for row, tall in zip(rows, heights, strict=True):
        for i, panel in enumerate(row):
            left = GAP + i * (column + GAP)
            page.paste(Image.fromarray(panel.image), (left, top + LINE))
            pen.text((left, top), _fitting(panel.title, column, TITLE), INK, _font(TITLE))
            for line, (text, colour) in enumerate(_lines(panel, column)):
                y = top + LINE + height + 4 + line * LINE
                if colour:
                    pen.rectangle((left, y + 2, left + SWATCH, y + 2 + SWATCH), fill=colour, outline=INK)
                pen.text((left + (SWATCH + 6 if colour else 0), y), text, PALE, _font(TEXT))
        top += tall
    return np.asarray(page)


def _lines(panel: Panel, width: int) -> list[tuple[str, str]]:
    """Notes as they fit below a panel: text and colour."""
    return [
        (_fitting(note.text, width - (SWATCH + 6 if note.colour else 0), TEXT), note.colour) for note in panel.notes
    ]


def _fitting(text: str, width: int, size: int) -> str:
    """A text on one line, cut with an ellipsis where it is wider than so many pixels."""
    text = " ".join(text.split())
    if _font(size).getlength(text) <= width:
        return text
    while text and _font(size).getlength(text + "…") > width:
        text = text[:-1]
    return text + "…"


@cache
def _font(size: int) -> "FreeTypeFont":
    """DejaVu Sans, which Matplotlib brings: Latin, Greek, Cyrillic and more; others are boxes."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf", size)
