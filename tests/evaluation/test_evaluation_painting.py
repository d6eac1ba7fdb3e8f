"""Instances painted into a semantic map: order, ties, threshold, and a plain loop."""

import numpy as np
import pytest

from stages.core.artifacts.painting import painted

LOW, HIGH = (0, 6, 0, 6), (0, 6, 4, 10)


def test_the_best_instance_is_seen_whatever_the_order_of_the_file(records):
    for order in (slice(None), slice(None, None, -1)):
        rectangles, classes, scores = [LOW, HIGH][order], [0, 1][order], [0.3, 0.8][order]
        labels = painted(records.instances("a", rectangles, classes, scores), score_threshold=0.0)
        assert labels[0].tolist() == [1] * 4 + [2] * 6


def test_the_first_of_equal_scores_is_seen(records):
    labels = painted(records.instances("a", [LOW, HIGH], [0, 1], [0.5, 0.5]), score_threshold=0.0)
    assert labels[0].tolist() == [1] * 6 + [2] * 4


def test_instances_from_the_threshold_on_are_painted(records):
    instances = records.instances("a", [HIGH, LOW], [1, 0], [0.75, 0.5])
    assert painted(instances, score_threshold=0.5)[0].tolist() == [1] * 4 + [2] * 6
    assert painted(instances, score_threshold=0.6)[0].tolist() == [0] * 4 + [2] * 6
    assert not painted(instances, score_threshold=0.8).any()


def test_without_an_instance_all_is_background(records):
    assert painted(records.instances("a"), score_threshold=0.0).tolist() == [[0] * 10] * 6


@pytest.mark.parametrize("seed", range(10))
def test_painting_is_that_of_a_plain_loop(records, seed):
    generator = np.random.default_rng(seed)
    masks = generator.random((5, 6, 10)) < 0.4
    classes, scores = generator.integers(0, 3, 5), generator.integers(0, 4, 5) / 4
    expected = np.zeros((6, 10), int)
    for i in sorted(range(5), key=lambda i: (scores[i], -i)):
        if scores[i] >= 0.25:
            expected[masks[i]] = 1 + classes[i]
    found = painted(records.instances("a", masks, classes, scores), score_threshold=0.25)
    assert found.tolist() == expected.tolist()
