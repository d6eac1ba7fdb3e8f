"""Annotated instances as semantic maps: what is written, and that it says what it is."""

import numpy as np
import pytest

from stages.core.artifacts.ground_truth import GroundTruth
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.core.artifacts.storage import Provenance, create, read
from stages.images.annotate_semantics import annotate_semantics
from stages.images.dataset import make_annotations
from stages.images.records import ground_truth_record


@pytest.fixture
def annotate(tmp_path):
    def annotate(records, classes=("cat", "dog")):
        source, output = tmp_path / "ground_truth.h5", tmp_path / "semantic_annotations.h5"
        made_by = Provenance("test", None, None, {})
        with create(source, GroundTruth, header={"classes": list(classes)}, provenance=made_by) as writer:
            for record in records:
                writer.append(record)
        annotate_semantics(ground_truth=source, output=output)
        with read(output, SemanticMaps) as maps:
            return maps.header, {record.image: record.labels for record in maps}

    return annotate


def masks(*columns):
    return [np.arange(6)[None, :].repeat(4, 0) == column for column in columns]


def test_classes_background_and_void_stand_where_they_were_annotated(annotate, caplog):
    void = masks(3)[0]
    known = ground_truth_record("a", make_annotations(masks(0, 2), [1, 0], [5, 6], shape=(4, 6), void=void), 4, 6)
    unknown = ground_truth_record("b", None, 3, 2)
    header, maps = annotate([known, unknown])
    assert header == {"classes": ["cat", "dog"], "source": "annotations", "supervision": "masks"}
    assert maps["a"].tolist() == [[2, 0, 1, 255, 0, 0]] * 4
    assert (maps["b"] == 255).all()
    assert maps["b"].shape == (3, 2)
    assert "1 of 2 images have no known masks" in caplog.text


def test_classes_that_do_not_fit_a_byte_are_refused(annotate):
    with pytest.raises(ValueError, match="has 255 classes; semantic maps hold at most 254"):
        annotate([], classes=[f"c{i}" for i in range(255)])
