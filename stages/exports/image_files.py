"""Image files beside masks, for readers that find an image and its masks by their places."""

import shutil
from pathlib import Path

from PIL import ExifTags, Image

from stages.core.artifacts.images import ImageRecord
from stages.core.images.loading import DAMAGED, load_rgb

READ = {".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}  # that ultralytics and supervision both look for
UPRIGHT = (None, 0, 1)  # values of EXIF's orientation that turn nothing


def place_image(image: ImageRecord, root: str, path: Path, *, copy: bool) -> tuple[Path, bool]:
    """Put an image at `path`, which has no suffix yet: a link to its file, or a copy.

    Where the file would be read otherwise than its masks lie (an unusual suffix, an orientation in EXIF that is applied
    in JPEG alone, another size), and where no file has the image, its upright pixels are written as PNG.

    Returns the path with its suffix, and whether pixels were written in place of a file. Errors as in `load_rgb`, and
    ValueError where the disk knows no links.
    """
    source = Path(root) / image.path
    if not image.path or not _read_alike(source, image):
        target = path.with_name(f"{path.name}.png")
        Image.fromarray(load_rgb(image, root)).save(target)
        return target, bool(image.path)
    target = path.with_name(f"{path.name}{source.suffix}")
    if copy:
        shutil.copyfile(source, target)
    else:
        _link(source, target)
    return target, False


def _read_alike(source: Path, image: ImageRecord) -> bool:
    """Whether other programs see the file as tagmask does: unchanged, of the recorded size, and upright."""
    if source.suffix.lower() not in READ or not source.is_file() or source.stat().st_size != image.file_size:
        return False
    try:
        with Image.open(source) as opened:
            kind, size, orientation = opened.format, opened.size, opened.getexif().get(ExifTags.Base.Orientation)
    except (*DAMAGED, Image.DecompressionBombError):
        return False
    if orientation in UPRIGHT:
        return size == (image.width, image.height)
    return kind == "JPEG" and sorted(size) == sorted((image.width, image.height))


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source.absolute())
    except (OSError, NotImplementedError) as error:
        raise ValueError(
            f"{target.parent} takes no symbolic link to {source} ({error}); set exports.yolo.images to copy"
        ) from error
