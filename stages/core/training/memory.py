"""What a task keeps between passes."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T", bound=tuple)


class Memory:
    """Keeps what was made once until a budget is used up; what is over is made again each time.

    Whether something is kept must not change its value.
    """

    def __init__(self, gigabytes: float) -> None:
        self.left = gigabytes * 1e9
        self.kept: dict[tuple, tuple] = {}

    def get(self, key: tuple, make: Callable[[], T]) -> T:
        """What `make` gives, a tuple of arrays or tensors, or what it gave before for this key."""
        if key in self.kept:
            return self.kept[key]  # type: ignore[return-value]
        made = make()
        size = sum(part.nbytes for part in made)
        if size <= self.left:
            self.left -= size
            self.kept[key] = made
        return made
