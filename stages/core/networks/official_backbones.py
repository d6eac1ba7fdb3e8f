"""Where layers of backbones stand in the official codes."""

from collections.abc import Iterator

VGG_BLOCKS = (
    2,
    2,
    3,
    3,
    3,
)  # convolutions of the blocks of VGG-16, each with a ReLU behind it, a pooling behind each block


def vgg_layers(pattern: str, *, step: int = 2, first: int = 0) -> Iterator[tuple[int, str]]:
    """Place of each convolution of VGG-16 in torchvision's `features`, and its name elsewhere.

    Args:
        pattern: of the name, with {block} from 1 on and {place} in the block.
        step: places between a block's convolutions there.
        first: place of a block's first convolution there.
    """
    at = 0
    for block, count in enumerate(VGG_BLOCKS, 1):
        for number in range(count):
            yield at, pattern.format(block=block, place=first + step * number)
            at += 2
        at += 1
