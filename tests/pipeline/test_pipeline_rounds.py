"""Proposals ranked by semantic maps, and a second round of maps: the graph, and a real run at toy size."""

from stages.core.artifacts.instances import Instances
from stages.core.artifacts.proposals import Proposals, ranked_by
from stages.core.artifacts.semantic_maps import UNCERTAIN, SemanticMaps
from stages.core.artifacts.storage import read
from tests.pipeline.conftest import SECOND, planned

FILES = ["--configfile", "toy.yaml", "toy_rounds.yaml"]


def test_each_round_stands_on_the_one_before(project, rounds):
    jobs = {job.outputs[0]: job for job in planned(project, SECOND, "-F", *FILES, source=project)}
    ranked = jobs["results/toy/val/proposals/fits_agreed.h5"]
    assert ranked.rule == "rank_proposals"
    assert {"results/toy/val/proposals/heg.h5", "results/toy/val/semantics/agreed.h5"} <= set(ranked.inputs)
    labels = jobs["results/toy/semantics/agreed/labels.h5"]
    assert labels.rule == "label_agreement"
    assert {"results/toy/train/semantics/cam.h5", "results/toy/fitting/train/instances.h5"} <= set(labels.inputs)
    trained = jobs["results/toy/semantics/agreed/weights.safetensors"]
    assert "results/toy/semantics/cam/weights.safetensors" in trained.inputs
    assert not any("classifier" in path for path in trained.inputs)
    predicted = jobs["results/toy/fitting/train/instances.h5"]
    assert {"results/toy/train/proposals/fits.h5", "results/toy/train/semantics/cam.h5"} <= set(predicted.inputs)


def test_both_rounds_run(rounds):
    with (
        read(rounds / "semantics" / "agreed" / "labels.h5", SemanticMaps) as labels,
        read(rounds / "train" / "semantics" / "cam.h5", SemanticMaps) as maps,
    ):
        assert labels.header["source"] == "agreed"
        for record in labels:
            kept = record.labels != UNCERTAIN
            assert (record.labels[kept] == maps.find(record.image).labels[kept]).all()
    with read(rounds / "val" / "proposals" / "fits_agreed.h5", Proposals) as ranked:
        assert (ranked.header["source"], ranked_by(ranked)) == ("fits_agreed", "image tags")
        assert all(1 <= len(record.scores) <= 20 for record in ranked)
    with read(rounds / "fitting" / "val" / "instances.h5", Instances) as found:
        assert found.header["supervision"] == "image tags"
        assert sum(len(record.scores) for record in found)


def test_what_lies_behind_ranked_proposals_reruns_them(project, rounds):
    (project / "overlay.yaml").write_text("semantics: {cam: {predict: {scales: [0.5]}}}")
    files = ["--configfile", "toy.yaml", "toy_rounds.yaml", "overlay.yaml"]
    again = {job.rule for job in planned(project, SECOND, *files, source=project)}
    assert {"predict_semantics", "rank_proposals", "train_cim", "predict_cim", "label_agreement"} <= again
    (project / "overlay.yaml").write_text("proposals: {fits_agreed: {power: 2.0}}")
    again = {job.rule for job in planned(project, SECOND, *files, source=project)}
    assert again == {"rank_proposals", "retrieve_prm", "evaluate_instances"}
    (project / "overlay.yaml").unlink()
