"""The step that labels proposals with clusters, and what it says of images that give none."""

import dataclasses

import numpy as np

from stages.cim.label_clusters import label_clusters
from stages.core.artifacts.cluster_labels import ClusterLabels
from stages.core.artifacts.cues import Cues
from stages.core.artifacts.storage import read
from tests.cim.conftest import write_artifact


def cues_of(toy, folder):
    """Those of the toy; no peak in the image of the single proposal."""
    with read(toy.cues, Cues) as cues:
        records = list(cues)
    records[3] = dataclasses.replace(
        records[3], peaks=np.zeros((0, 2), np.int32), peak_classes=np.zeros(0, np.int32),
        peak_scores=np.zeros(0, np.float32),
    )  # fmt: skip
    return write_artifact(folder / "cues.h5", Cues, records, head="prm", supervision="image tags")


def test_images_without_tags_proposals_or_clusters_are_counted(toy, official, tmp_path, caplog):
    caplog.set_level("INFO")
    output = tmp_path / "labels.h5"
    label_clusters(
        images=toy.images, proposals=toy.proposals, cues=cues_of(toy, tmp_path), output=output,
        settings=official().agpl,
    )  # fmt: skip
    assert "of 6 images 1 with tags but without a cluster, 1 without proposals, 1 without tags" in caplog.text
    with read(output, ClusterLabels) as labels:
        records = list(labels)
    assert [len(record.clusters) for record in records] == list(toy.counts)
    assert (records[0].cluster_classes.max(), records[0].cluster_classes.min()) == (0, -1)  # the only tag is the first
    assert records[3].clusters.tolist() == [0]  # of a class that may be anywhere: ignored
    assert set(records[4].clusters.tolist()) == {1}  # known or taken for background
    assert set(records[4].cluster_classes.tolist()) == {-1}
