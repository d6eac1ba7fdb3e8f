"""Batches made while the network computes."""

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any


@contextlib.contextmanager
def made_ahead(
    passes: Iterable[tuple[int, int]], make: Callable[[int, int], Any], *, ahead: int
) -> Iterator[Iterator[Any]]:
    """Iterate over `make(step, micro)` of each pass in order, up to `ahead` made early in a background thread.

    An error in `make` is raised where its batch would have come.
    """
    if not ahead:
        yield (make(*one) for one in passes)
        return
    with ThreadPoolExecutor(max_workers=1) as pool:
        waiting: deque[Future] = deque()

        def batches() -> Iterator[Any]:
            for one in passes:
                waiting.append(pool.submit(make, *one))
                if len(waiting) > ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

        try:
            yield batches()
        finally:
            for future in waiting:
                future.cancel()
