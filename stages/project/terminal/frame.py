"""Lines at the foot of a terminal that are drawn anew in place, below lines that stay."""

import os
from typing import TextIO

from rich.cells import cell_len
from rich.text import Text

HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"  # the cursor


class Frame:
    """Draws on a terminal. Each change is one write, and the cursor stands below the last line after it."""

    def __init__(self, stream: TextIO) -> None:
        """The terminal is the stream."""
        self._stream = stream
        self._widths: list[int] = []  # cells of each drawn line
        self._hidden = False

    def size(self) -> tuple[int, int]:
        """Columns and rows of the terminal now."""
        try:
            found = os.get_terminal_size(self._stream.fileno())
        except OSError:  # no terminal
            return 80, 24
        return (found.columns, found.lines) if found.columns > 0 and found.lines > 0 else (80, 24)

    def draw(self, lines: list[str], above: list[str]) -> None:
        """Draw the lines in place of those before; `above` stay, above them. No line may be wider than the terminal."""
        text = self._erased() + "".join(f"{line}\n" for line in [*above, *lines])
        if not self._hidden:
            text, self._hidden = HIDE + text, True
        self._widths = [cell_len(Text.from_ansi(line).plain) for line in lines]
        self._write(text)

    def close(self, above: list[str]) -> None:
        """Take the lines away, leave others, and give the cursor back."""
        text = self._erased() + "".join(f"{line}\n" for line in above)
        self._widths = []
        if self._hidden:
            text, self._hidden = text + SHOW, False
        self._write(text)

    def _erased(self) -> str:
        """What takes the drawn lines away; a terminal that has become narrower shows some on several rows."""
        columns = max(self.size()[0], 1)
        rows = sum(max(1, -(-width // columns)) for width in self._widths)
        return f"\x1b[{rows}A\r\x1b[J" if rows else ""

    def _write(self, text: str) -> None:
        if text:
            self._stream.write(text)
            self._stream.flush()
