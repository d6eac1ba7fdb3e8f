"""Which messages of steps are warnings.

Log files name no level, and a level in them would be code that makes every step run again. So the texts that the stages
warn with are read from their source.
"""

import re
from functools import cache
from pathlib import Path

STAGES = Path(__file__).parents[2]
CALL = re.compile(r'\blog\.warning\(\s*((?:f?"(?:[^"\\]|\\.)*"\s*)+)')
TEXT = re.compile(r'(f?)"((?:[^"\\]|\\.)*)"')
OF_PYTHON = re.compile(r": \w*Warning: ")  # `warnings`, which steps log
GAP = re.compile(r"%[-+ #0-9.]*[sdrifgex]")
FIELD = re.compile(r"\{[^{}]*\}")


def is_warning(said: str) -> bool:
    """Whether a message is one that a stage warns with, or a warning of Python."""
    return bool(OF_PYTHON.search(said)) or any(text.match(said) for text in warning_texts())


@cache
def warning_texts() -> tuple[re.Pattern[str], ...]:
    """A pattern for each text that a stage warns with."""
    found = []
    for path in sorted(STAGES.rglob("*.py")):
        for call in CALL.finditer(path.read_text(encoding="utf-8")):
            parts = [_pattern(text, filled=mark == "f") for mark, text in TEXT.findall(call[1])]
            if len("".join(parts).replace(".*", "").strip()) >= 10:  # a text of gaps alone would match everything
                found.append(re.compile("".join(parts), re.DOTALL))
    return tuple(found)


def _pattern(text: str, *, filled: bool) -> str:
    """A text between quotes as a pattern, with anything in place of what is filled in."""
    plain = text.replace('\\"', '"').replace("\\n", "\n").replace("%%", "\0")
    gaps = FIELD if filled else GAP
    return ".*".join(re.escape(part) for part in gaps.split(plain)).replace(re.escape("\0"), "%")
