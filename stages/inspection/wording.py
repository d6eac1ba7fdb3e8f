"""Words that galleries and the lens share."""


def counted(count: int, noun: str) -> str:
    """A number with its noun in singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
