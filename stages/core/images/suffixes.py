"""Which files are images, by their suffix."""

from functools import cache

from PIL import Image, ImageFile

# Suffixes that point clouds and circuit boards have today, and no images.
OTHER_USES = {"GBR", "PCD"}


@cache
def suffixes() -> frozenset[str]:
    """Suffixes of the images that Pillow decodes by itself, in lower case, such as ".jpg".

    Left out: formats that Pillow only names or hands to another program, and those whose suffixes mean something else.
    """
    Image.init()
    readable = {
        name
        for name, (factory, _) in Image.OPEN.items()
        if not (isinstance(factory, type) and issubclass(factory, ImageFile.StubImageFile))
        and Image.MIME.get(name, "image/").startswith("image/")
    }
    return frozenset(s for s, name in Image.registered_extensions().items() if name in readable - OTHER_USES)
