"""What a description refuses of a file's content, in a few words for the message that names the file."""

from pydantic import ValidationError


def refusal(error: ValidationError) -> str:
    """The entries that are missing, or else the first that is wrong, as `place: why`, and how many more there are."""
    found = error.errors(include_url=False)
    lacking = [_place(item["loc"]) for item in found if item["type"] == "missing"]
    if lacking:
        return f"it lacks {', '.join(lacking)}"
    place = _place(found[0]["loc"])
    text = f"{place}: {found[0]['msg']}" if place else found[0]["msg"]
    return f"{text} (and {len(found) - 1} more)" if len(found) > 1 else text


def _place(parts: tuple[int | str, ...]) -> str:
    return ".".join(map(str, parts))
