"""What is asked of every prediction that leans on semantic maps, whichever step makes it."""

import pytest

LEANING = {"semantics": "cam", "map_power": 1.0}


def assert_maps_are_said(predict):
    """`predict` takes settings, and `maps` that are False; it gives header and provenance of the instances."""
    header, provenance = predict(**LEANING)
    assert header["supervision"] == "masks"
    assert set(provenance["inputs"]) == {"images", "semantics"}
    header, provenance = predict(maps=False)
    assert (header["supervision"], set(provenance["inputs"])) == ("image tags", {"images"})


def assert_refused(predict, given, message):
    """Maps that do not fit are refused with a message."""
    with pytest.raises(ValueError, match=message):
        predict(**LEANING, **given)
