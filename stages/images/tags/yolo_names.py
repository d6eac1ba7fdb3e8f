"""Names of the classes of YOLO's text files, which number them from 0."""

from pathlib import Path
from typing import Any

from stages.core.config.yaml_files import parse_yaml
from stages.images.files.text import lines_of, read_text

YAMLS = ("data.yaml", "dataset.yaml", "data.yml")
LISTS = ("classes.txt", "obj.names", "labels.txt", "_darknet.labels")
LEVELS = 2  # folders above that of the text files in which data sets keep the names
MISSING = "restore it"


def class_names(folder: Path) -> dict[int, str]:
    """Number -> name, from the file of names that is nearest above the text files.

    Raises FileNotFoundError where there is none, and ValueError where a folder has two that differ or one is no list.
    """
    places = [folder, *list(folder.resolve().parents)[:LEVELS]]
    for place in places:
        found = {path: _read(path) for name in (*YAMLS, *LISTS) if (path := place / name).is_file()}
        if found:
            first, *others = found.values()
            if any(other != first for other in others):
                raise ValueError(f"{' and '.join(map(str, found))} name other classes; leave the right one")
            return first
    raise FileNotFoundError(
        f"no names of the classes of {folder}: none of {', '.join((*YAMLS, *LISTS))} is in it or in the {LEVELS} "
        "folders above; put the names there, one a line in classes.txt"
    )


def _read(path: Path) -> dict[int, str]:
    text = read_text(path, MISSING)
    names = _of_yaml(path, text) if path.name in YAMLS else [line.strip() for line in lines_of(text) if line.strip()]
    numbered = dict(enumerate(names)) if isinstance(names, list) else names
    fits = isinstance(numbered, dict) and all(
        isinstance(number, int) and isinstance(name, str) and name for number, name in numbered.items()
    )
    if not fits or not numbered:
        raise ValueError(f"{path} has the names {str(names)[:80]}, expected a list of names or number: name; mend it")
    return numbered


def _of_yaml(path: Path, text: str) -> Any:
    data = parse_yaml(text, str(path))
    if not isinstance(data, dict) or "names" not in data:
        raise ValueError(f"{path} has no key `names` with the names of the classes; mend it")
    return data["names"]
