"""Checkpoints of the official codes: networks say the same before and after; what does not fit is said."""

from pathlib import Path

import numpy as np
import pytest
import torch

from stages.bestie.convert_bestie import convert_bestie
from stages.bestie.maps import load_network as load_bestie
from stages.bestie.network import BestieNetwork
from stages.bestie.official_weights import official_code as code_of_bestie
from stages.cim.convert_cim import convert_cim
from stages.cim.network import CimNetwork
from stages.cim.official_weights import official_code as code_of_cim
from stages.cim.predict_cim import load_network as load_cim
from stages.classifier.convert_classifier import convert_classifier
from stages.classifier.find_cues import build_classifier
from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.storage import Provenance, create, read
from stages.core.networks.backbones import build_backbone
from stages.core.networks.official import OfficialCode, convert_checkpoint, read_checkpoint, renamed, renaming
from stages.core.networks.weights import read_metadata, read_weights
from stages.project.project import load_files
from tests.core import official_networks as official

ROOT = Path(__file__).parents[2]
CLASSES = ["cat", "dog", "hen"]
IMAGE = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
BOXES = torch.tensor([[0.0, 0.0, 96.0, 64.0], [10.0, 5.0, 60.0, 50.0], [40.5, 20.0, 90.0, 63.0]])
CROPS = torch.rand(3, 7, 7, generator=torch.Generator().manual_seed(1)) > 0.4
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "images.h5"
    header = {
        "classes": CLASSES,
        "name": "toy",
        "kind": "folder",
        "split": "val",
        "root": "",
        "category_ids": [1, 2, 3],
    }
    provenance = Provenance(step="test", settings=None, seed=None, inputs={})
    with create(path, ImageRecord, header={**header, "negatives": 0, "unknown": 0}, provenance=provenance):
        pass
    return path


@pytest.fixture
def preset(monkeypatch):
    def loaded(*names):
        monkeypatch.setenv("TAGMASK_DATA", "/somewhere")
        return load_files(ROOT / "config.yaml", *[ROOT / f"presets/{name}.yaml" for name in names])

    return loaded


@pytest.fixture
def saved(tmp_path):
    """Where the tensors stand as their code saves them."""

    def saved(tensors, wrap=lambda tensors: {"model": tensors, "step": 3}):
        path = tmp_path / "model_step3.pth"
        torch.save(wrap(dict(tensors)), path)
        return path

    return saved


CIM = ["voc2012", "voc2012_released"]
BESTIE = ["voc2012", "voc2012_bestie", "voc2012_bestie_released"]


def small_cim(settings, **backbone):
    narrow = settings.network.model_copy(update={"fc_widths": [12, 8]})
    return settings.model_copy(update={"network": narrow, "backbone": settings.backbone.model_copy(update=backbone)})


@pytest.mark.parametrize(
    ("presets", "reference", "backbone"),
    [
        pytest.param(CIM, "resnet50", {}, id="resnet50"),
        pytest.param([*CIM, "voc2012_vgg16"], "vgg16", {}, id="vgg16"),
        pytest.param([*CIM, "voc2012_hrnet"], official.W18_SMALL, {"name": "hrnet_w18_small"}, id="hrnet"),
    ],
)
def test_cim_scores_proposals_as_the_official_network(preset, saved, images, tmp_path, presets, reference, backbone):
    net = official.Checkpoint()
    expected = official.cim(net, IMAGE, BOXES, CROPS, backbone=reference, widths=(12, 8), columns=4)
    settings = small_cim(preset(*presets).cim.train, **backbone)
    output, card = tmp_path / "weights.safetensors", tmp_path / "README.md"
    convert_cim(
        checkpoint=saved(net), images=images, output_weights=output, output_card=card, settings=settings,
        supervision="image tags",
    )  # fmt: skip
    with read(images, ImageRecord) as listing:
        network, trained, metadata = load_cim(output, listing, device="cpu")
    with torch.no_grad():
        found = network.eval()(IMAGE, BOXES, CROPS)
    for ours, theirs in zip((found.classifier, found.detector), expected[:2], strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    for ours, theirs in zip(found.refined, expected[2], strict=True):
        torch.testing.assert_close(torch.stack(ours), torch.stack(theirs), **CLOSE)
    assert not torch.allclose(found.refined[0][0], found.refined[1][0], atol=1e-2)  # the branches are told apart
    assert trained == settings
    assert metadata["converted"] == {"file": "model_step3.pth", "code": "github.com/ZechengLi19/CIM"}
    text = card.read_text()
    assert metadata["inputs"]["checkpoint"] in text
    assert "2 tensors such as `cls_iou_model.outer_detection.bias`: a layer that the official code builds" in text


@pytest.mark.parametrize("kind", ["hrnet", "resnet50"])
def test_bestie_maps_images_as_the_official_network(preset, saved, images, tmp_path, kind):
    net = official.Checkpoint()
    if kind == "hrnet":
        expected = official.bestie_hrnet(net, IMAGE, 3, official.W18_SMALL)
        settings = preset(*BESTIE).bestie.train
        small = settings.backbone.model_copy(update={"name": "hrnet_w18_small"})
        settings = settings.model_copy(update={"backbone": small})
    else:
        expected = official.bestie_resnet50(net, IMAGE, 3)
        settings = preset(*BESTIE, "voc2012_bestie_resnet50").bestie.train
    output = tmp_path / "weights.safetensors"
    convert_bestie(
        checkpoint=saved(net), images=images, output_weights=output, output_card=tmp_path / "README.md",
        settings=settings, supervision="points",
    )  # fmt: skip
    with read(images, ImageRecord) as listing:
        network, metadata = load_bestie(output, listing, device="cpu")
    with torch.no_grad():
        found = network(IMAGE)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, **CLOSE)
    assert metadata["supervision"] == "points"
    assert "Nothing was left over." in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize("kind", ["prm", "pam"])
def test_classifiers_respond_as_the_official_networks(preset, saved, images, tmp_path, kind):
    net = official.Checkpoint()
    expected = {"prm": official.prm, "pam": official.pam}[kind](net, IMAGE, 3)
    settings = preset(*(CIM if kind == "prm" else BESTIE)).classifier[kind].train
    output = tmp_path / "weights.safetensors"
    convert_classifier(
        checkpoint=saved(net, dict), images=images, output_weights=output, output_card=tmp_path / "README.md",
        settings=settings,
    )  # fmt: skip
    network = build_classifier(output, classes=CLASSES, images=images).eval()
    with torch.no_grad():
        torch.testing.assert_close(network(IMAGE).maps, expected, **CLOSE)


@pytest.mark.parametrize(
    ("presets", "name", "size"),
    [
        pytest.param([*CIM, "voc2012_hrnet"], None, official.W48, id="CIM on HRNet-W48"),
        pytest.param(BESTIE, None, official.W48, id="BESTIE on HRNet-W48"),
        pytest.param(BESTIE, "hrnet_w32", official.W32, id="BESTIE on HRNet-W32"),
    ],
)
def test_names_and_shapes_of_the_large_networks_fit(preset, presets, name, size):
    """Without values: shapes alone."""
    net, image = official.Checkpoint(meta=True), IMAGE.to("meta")
    project = preset(*presets)
    with torch.device("meta"):
        if presets is BESTIE:
            official.bestie_hrnet(net, image, 20, size)
            settings = project.bestie.train
            named = settings.backbone.model_copy(update={"name": name or settings.backbone.name})
            settings = settings.model_copy(update={"backbone": named})
            network, code = BestieNetwork(settings, class_count=20, load=False), code_of_bestie(settings)
        else:
            official.cim(net, image, BOXES, CROPS.to("meta"), backbone=size, widths=(4096, 4096), columns=21)
            settings = project.cim.train
            backbone = build_backbone(settings.backbone, load=False)
            network, code = CimNetwork(backbone, class_count=20, settings=settings.network), code_of_cim(settings)
    tensors, unused = renamed(net, network, code, Path("checkpoint.pth"))
    assert tensors.keys() == network.state_dict().keys()
    assert sum(len(names) for names, _ in unused) == (0 if presets is BESTIE else 4)


class Two(torch.nn.Module):
    """A layer and a joined one."""

    def __init__(self):
        super().__init__()
        self.layer, self.norm = torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3)


STARTS = renaming({"layer.": "fc.", "norm.": "bn."})
CODE = OfficialCode(
    "a network", "somewhere", lambda name: ["one.weight", "two.weight"] if name == "layer.weight" else STARTS(name),
    unused={r"spare\.\w+": "nobody calls it"}, twins={"again.": "fc."}, marks={"seg.weight": "another network"},
)  # fmt: skip


def tensors_of_two(**changes):
    norm = {name: torch.ones(3) for name in ("bn.weight", "bn.bias", "bn.running_mean", "bn.running_var")}
    tensors = {
        "one.weight": torch.full((1, 2), 1.0), "two.weight": torch.full((2, 2), 2.0), "fc.bias": torch.arange(3.0),
        "bn.num_batches_tracked": torch.tensor(4), **norm, **changes,
    }  # fmt: skip
    return {name: tensor for name, tensor in tensors.items() if tensor is not None}


def converted(path, tmp_path, code=CODE):
    convert_checkpoint(
        path, Two(), code, trained_by="train_two", settings={"a": 1}, classes=["x"], supervision="image tags",
        output_weights=tmp_path / "out.safetensors", output_card=tmp_path / "README.md",
    )  # fmt: skip
    return read_weights(tmp_path / "out.safetensors")


@pytest.mark.parametrize(
    "wrap",
    [
        pytest.param(dict, id="alone"),
        pytest.param(lambda tensors: {"model": tensors, "optimizer": {"state": {}}, "step": 2}, id="model"),
        pytest.param(lambda tensors: {"state_dict": tensors}, id="state_dict"),
        pytest.param(
            lambda tensors: {"model": {f"module.{n}": t for n, t in tensors.items()}}, id="of several devices"
        ),
        pytest.param(lambda tensors: {n: t.half() if t.ndim else t for n, t in tensors.items()}, id="half precision"),
    ],
)
def test_a_checkpoint_is_read_however_it_was_saved(saved, tmp_path, wrap):
    found = converted(saved(tensors_of_two(), wrap), tmp_path)
    assert found["layer.weight"].tolist() == [[1, 1], [2, 2], [2, 2]]
    assert found["layer.bias"].tolist() == [0, 1, 2]
    assert found["layer.weight"].dtype == torch.float32
    metadata = read_metadata(tmp_path / "out.safetensors")
    assert (metadata["step"], metadata["settings"], metadata["classes"]) == ("train_two", {"a": 1}, ["x"])


def test_an_old_checkpoint_without_counters_of_batch_norms_is_read(saved, tmp_path):
    found = converted(saved(tensors_of_two(**{"bn.num_batches_tracked": None})), tmp_path)
    assert found["norm.num_batches_tracked"].item() == 0


def test_tensors_that_are_listed_twice_must_be_equal(saved, tmp_path):
    again = {"again.bias": torch.arange(3.0)}
    assert converted(saved(tensors_of_two(**again)), tmp_path)["layer.bias"].tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"lists fc.bias a second time as again.bias, with other values"):
        converted(saved(tensors_of_two(**{"again.bias": torch.ones(3)})), tmp_path)


def test_what_is_not_used_is_said(saved, tmp_path, caplog):
    with caplog.at_level("INFO"):
        converted(saved(tensors_of_two(**{"spare.weight": torch.ones(1), "spare.bias": torch.ones(1)})), tmp_path)
    assert "not used: 2 tensors such as spare.bias, nobody calls it" in caplog.text
    assert "2 tensors such as `spare.bias`: nobody calls it" in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        pytest.param({"fc.bias": None}, r"1 tensors are missing, such as \['fc.bias'\]", id="missing"),
        pytest.param({"two.weight": None}, r"1 tensors are missing, such as \['two.weight'\]", id="a part is missing"),
        pytest.param({"extra.weight": torch.ones(1)}, r"1 tensors are left over, such as \['extra.weight'\]", id="left over"),
        pytest.param({"fc.bias": torch.ones(4)}, r"fc.bias is \(4,\), not \(3,\)", id="shape"),
        pytest.param({"one.weight": torch.ones(2, 2)}, r"one.weight \+ two.weight is \(4, 2\), not \(3, 2\)", id="classes"),
        pytest.param({"seg.weight": torch.ones(1)}, "it looks like another network. Take the preset", id="of a relative"),
        pytest.param({"fc.bias": None}, r"its names begin with \['bn.bias'", id="of nobody known"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said_and_nothing_is_written(saved, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        converted(saved(tensors_of_two(**changes)), tmp_path)
    assert not list(tmp_path.glob("out*"))
    assert not (tmp_path / "README.md").exists()


class Hostile:
    """Would write a file where it is unpickled."""

    def __reduce__(self):
        return (Path.touch, (Path("it-ran"),))


@pytest.mark.parametrize(
    ("write", "message"),
    [
        pytest.param(lambda path: path.write_bytes(b""), "no checkpoint of torch.save or was cut off", id="empty"),
        pytest.param(lambda path: path.write_bytes(b"PK\x03\x04 and no more"), "was cut off", id="cut off"),
        pytest.param(lambda path: path.write_text("<html>quota exceeded</html>"), "cut off", id="a page of a drive"),
        pytest.param(lambda path: torch.save({"model": Hostile()}, path), "is not opened: what it holds could run", id="code"),
        pytest.param(lambda path: torch.save([torch.ones(2)], path), "holds a list, expected tensors by name", id="a list"),
        pytest.param(lambda path: torch.save({}, path), r"holds a dict with the keys \[\]", id="nothing"),
        pytest.param(lambda path: torch.save({"net": {"a": torch.ones(1)}}, path), r"with the keys \['net'\]", id="wrapper"),
        pytest.param(lambda path: torch.save({"model": {"step": 3}}, path), r"with the keys \['step'\]", id="no tensors"),
        pytest.param(lambda path: path.mkdir(), "no checkpoint at", id="a folder"),
        pytest.param(lambda path: None, "no checkpoint at .*; check the path in `trained`", id="no file"),
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_said_and_nothing_in_it_runs(tmp_path, monkeypatch, write, message):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "model.pth"
    write(path)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        read_checkpoint(path)
    assert not (tmp_path / "it-ran").exists()


def test_a_cut_off_file_is_told_from_one_that_holds_code(saved):
    path = saved(tensors_of_two())
    data = path.read_bytes()
    for end in (len(data) // 2, len(data) - 30):
        path.write_bytes(data[:end])
        with pytest.raises(ValueError, match="cut off"):
            read_checkpoint(path)


def test_converted_weights_are_those_of_the_step_that_predicts(saved, images, tmp_path, preset):
    """Weights of another network are refused by the prediction as those of another training are."""
    net = official.Checkpoint()
    official.prm(net, IMAGE, 3)
    output = tmp_path / "weights.safetensors"
    settings = preset(*CIM).classifier["prm"].train
    convert_classifier(
        checkpoint=saved(net),
        images=images,
        output_weights=output,
        output_card=tmp_path / "README.md",
        settings=settings,
    )
    with read(images, ImageRecord) as listing, pytest.raises(ValueError, match="was not written by train_cim"):
        load_cim(output, listing, device="cpu")
    assert np.isfinite(read_weights(output)["head.classifier.weight"].numpy()).all()
