"""Which images a shard holds."""

import re

SHARD = re.compile(r"(\d+)-of-(\d+)")


def in_shard(count: int, shard: str) -> range:
    """Positions of a shard's images among `count`.

    Args:
        count: how many images there are.
        shard: such as "2-of-4". Shards hold every 4th image, so that they take equally long whatever the order.

    Raises:
        ValueError: `shard` is spelled otherwise, or is not between 1 and the number of shards.
    """
    spelled = SHARD.fullmatch(shard)
    number, total = (int(part) for part in spelled.groups()) if spelled else (0, 0)
    if not 1 <= number <= total:
        raise ValueError(f"shard {shard!r}: expected <number>-of-<shards>, from 1-of-1 on, such as 2-of-4")
    return range(number - 1, count, total)
