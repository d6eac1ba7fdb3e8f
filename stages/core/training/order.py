"""The order in which images are trained on."""

from functools import lru_cache

import numpy as np


class EpochOrder:
    """Entries 0 to count - 1 in a random order, another one each epoch, epoch after epoch without a gap.

    The order depends on the seed alone: the entry of any number is known without those before it, so that a killed
    training goes on where it was.
    """

    def __init__(self, count: int, *, seed: int) -> None:
        self.count, self.seed = count, seed
        self._shuffled = lru_cache(maxsize=2)(self._of_epoch)  # batches lie across the end of an epoch

    def __call__(self, number: int) -> int:
        """The entry `number`, counted over the whole training."""
        epoch, place = divmod(number, self.count)
        return int(self._shuffled(epoch)[place])

    def _of_epoch(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(self.count)
