"""Tags from a folder for each class, such as `scratch/0001.jpg` and `good/0002.jpg`."""

from pathlib import Path, PurePosixPath

from stages.core.config.spelling import did_you_mean
from stages.images.dataset import listed
from stages.images.tags.entries import Entry, Tags


def folder_within(path: Path, root: Path) -> PurePosixPath:
    """`path` relative to `root`. Raises ValueError where it does not lie in it."""
    try:
        return PurePosixPath(path.resolve().relative_to(root.resolve()).as_posix())
    except ValueError as error:
        raise ValueError(
            f"{path} is not in the folder of images {root}; with class folders, tags is that folder or one in it"
        ) from error


def from_class_folders(
    path: Path, root: Path, files: list[str], classes: list[str], negative_folders: list[str]
) -> Tags:
    """Tags of images by the first folder below `path` that they lie in.

    Args:
        path: the folder that holds those of the classes.
        root: the folder that `files` are relative to; `path` is it or lies in it.
        files: images below `root`; those that are not below a folder in `path` are not in what is returned.
        classes: names of folders of classes. They come first where a name is in both lists.
        negative_folders: names of folders whose images show none of the classes.

    Raises:
        ValueError: a folder with images has another name.
    """
    start = folder_within(path, root).parts
    entries, others = [], []
    for file in files:
        parts = PurePosixPath(file).parts
        inside = parts[len(start) :]
        if parts[: len(start)] != start or len(inside) < 2:
            continue
        folder = inside[0]
        if folder not in classes and folder not in negative_folders:
            others.append(folder)
        entries.append(Entry((file,), (folder,) if folder in classes else (), f"folder {folder}"))
    if others:
        names = list(dict.fromkeys(others))
        hint = did_you_mean(names[0], [*classes, *negative_folders])
        raise ValueError(
            f"{path} has folders that are no classes: {listed(names)}{hint}; add them to images.classes, or to "
            "images.folder.negative_folders where they show none of the classes, or take them out"
        )
    return Tags(path, entries, strict=True)
