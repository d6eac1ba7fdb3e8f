from collections import Counter

import pytest

from stages.core.training.order import EpochOrder


def test_each_epoch_holds_each_entry_once_in_an_order_of_its_own():
    order = EpochOrder(50, seed=3)
    epochs = [[order(50 * epoch + place) for place in range(50)] for epoch in range(3)]
    assert all(Counter(epoch) == Counter(range(50)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in (*epochs, range(50))}) == 4


def test_an_entry_is_the_same_whatever_was_asked_for_before():
    whole = [EpochOrder(7, seed=3)(number) for number in range(30)]
    order = EpochOrder(7, seed=3)
    assert [order(number) for number in reversed(range(30))] == whole[::-1]


@pytest.mark.parametrize("seed", [0, 4])
def test_another_seed_gives_another_order(seed):
    assert [EpochOrder(50, seed=seed)(i) for i in range(50)] != [EpochOrder(50, seed=3)(i) for i in range(50)]
