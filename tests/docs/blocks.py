"""Fenced blocks and inline commands of the pages, and the notes that stand above them.

A note is an HTML comment on the line above a block:

    <!-- not run: why -->              nothing executes the block; tests/docs/test_docs_blocks.py bounds how many there are
    <!-- run by tests/... -->          that test executes it, or compares it with what it executes
    <!-- on presets/a.yaml b.yaml -->  these files lie below a block of settings
    <!-- as mine.yaml -->              the file that a block is called in the commands of its page
    <!-- message: name -->             a message of tagmask, provoked by tests/docs/test_docs_troubleshooting.py
"""

import dataclasses
import re
import shlex
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^(?P<indent> *)```(?P<language>[\w-]*)\s*$")
NOTE = re.compile(r"^ *<!-- (.*) -->$")
PROGRAMS = (".venv/bin/snakemake", "snakemake", ".venv/bin/python", "python", ".venv/bin/pytest", "make")


@dataclasses.dataclass(frozen=True)
class Block:
    """A fenced block: where it begins, its language, its lines without the indent of the fence, the note above it."""

    page: str
    line: int
    language: str
    text: str
    note: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"

    def noted(self, kind: str) -> str | None:
        """What a note of this kind says, None where there is none."""
        return self.note.removeprefix(kind).lstrip(": ") if self.note.startswith(kind) else None

    @property
    def is_left_to(self) -> str | None:
        """The test that executes the block in place of these ones, or why none does."""
        return self.noted("run by") or self.noted("not run")


@dataclasses.dataclass(frozen=True)
class Command:
    """A line of a shell: variables before it, its words."""

    variables: dict[str, str]
    words: list[str]
    text: str


def blocks_of(page: str, text: str) -> list[Block]:
    """All fenced blocks of a page, in order."""
    found, lines, start = [], text.splitlines(), None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence and start is None:
            start = (number, fence)
        elif fence and not fence["language"] and start is not None:
            first, opened = start
            note = NOTE.match(lines[first - 1]) if first else None
            body = textwrap.dedent("\n".join(lines[first + 1 : number])) + "\n"
            found.append(Block(page, first + 1, opened["language"], body, note[1] if note else ""))
            start = None
    if start is not None:
        raise ValueError(f"{page}:{start[0] + 1}: a block without an end")
    return found


def all_blocks(*languages: str) -> list[Block]:
    """The blocks of all pages, of these languages or of any."""
    found = [block for page in PAGES for block in blocks_of(page, (ROOT / page).read_text(encoding="utf-8"))]
    return [block for block in found if not languages or block.language in languages]


def commands_of(text: str) -> list[Command]:
    """The lines of a shell block as a shell splits them; comments and empty lines are none."""
    found = []
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        variables = {}
        while words and re.match(r"[A-Z_]+=", words[0]):
            name, _, value = words.pop(0).partition("=")
            variables[name] = value
        if words:
            found.append(Command(variables, words, line.strip()))
    return found


def inline_commands() -> list[tuple[str, str]]:
    """Page and text of each command that stands in a sentence: code that begins with one of PROGRAMS and goes on."""
    found = []
    for page in PAGES:
        text = re.sub(
            r"^ *```.*?^ *```$", "", (ROOT / page).read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE
        )
        for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", text):
            code = " ".join(code.split())
            command = re.sub(r"^(?:[A-Z_]+=\S+ )+", "", code)
            if command.startswith(tuple(f"{program} " for program in PROGRAMS)):
                found.append((page, code))
    return list(dict.fromkeys(found))
