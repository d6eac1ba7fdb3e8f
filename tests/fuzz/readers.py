"""Readers of what others write, each with a right input and a function that reads it whole."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import yaml
from PIL import Image

from tests.pipeline.conftest import ROOT
from tests.pipeline.test_pipeline_cases import OUTLINE, SQUARE, VOC, Case, annotation, own, voc


class Reader(NamedTuple):
    """`file` is damaged; `read` reads it. Errors must name one of `named` (the file, where it is empty)."""

    file: Path
    read: Callable[[], object]
    named: tuple[str, ...] = ()


def artifact(folder):
    from stages.core.artifacts.points import Points
    from stages.core.artifacts.storage import Provenance, create, read

    path = folder / "points.h5"
    with create(path, Points, header={"classes": ["a"]}, provenance=Provenance("test", None, None, {})) as writer:
        for i in range(5):
            writer.append(Points(image=f"{i}", points=np.full((i, 2), i, np.int32), classes=np.zeros(i, np.int32)))

    def read_all():
        with read(path, Points) as artifact:
            return list(artifact)

    return Reader(path, read_all)


def weights(folder):
    import torch

    from stages.core.networks.weights import load_weights, read_trained, save_weights

    path, network = folder / "w.safetensors", torch.nn.Linear(3, 2)
    save_weights(path, network, {"step": "train", "classes": ["a"], "settings": {"seed": 1}, "supervision": "tags"})

    def read_all():
        noted = read_trained(path, step="train", classes=["a"], listed=path)
        return noted.setting("seed"), noted["supervision"], load_weights(path, network)

    return Reader(path, read_all)


def checkpoint(folder):
    import torch

    from stages.core.training.checkpoints import find_checkpoint, save_checkpoint

    save_checkpoint(folder, {"step": 1, "network": {"a": torch.zeros(9)}}, identity="a")
    return Reader(folder / "checkpoint.pt", lambda: find_checkpoint(folder, identity="a"))


def official_checkpoint(folder):
    import torch

    from stages.core.networks.official import read_checkpoint

    torch.save({"model": {"a": torch.zeros(9)}}, folder / "model.pth")
    return Reader(folder / "model.pth", lambda: read_checkpoint(folder / "model.pth"))


def _mat(folder, save, layout):
    from stages.proposals.imported import ranked
    from stages.proposals.mat_files import read_mat

    path = folder / "cat.mat"
    save(path, layout)
    return Reader(path, lambda: ranked(read_mat(path), shape=(5, 6), count=9, name=str(path)))


def mat_5(folder):
    from tests.proposals.test_proposals_import_mat import LAYOUTS, save_v7

    return _mat(folder, save_v7, LAYOUTS["superpixels and labels"]())


def mat_5_plain(folder):
    import scipy.io

    from tests.proposals.test_proposals_import_mat import LAYOUTS

    return _mat(folder, scipy.io.savemat, LAYOUTS["maskmat cell"]())


def mat_73(folder):
    from tests.proposals.test_proposals_import_mat import LAYOUTS, save_v73

    return _mat(folder, save_v73, LAYOUTS["superpixels and labels"]())


def sbd(folder):
    from stages.images.sbd import Sbd
    from tests.images.test_images_voc import add_sbd

    add_sbd(folder, "a", np.eye(6, dtype=np.uint8), [12])
    return Reader(folder / "inst" / "a.mat", lambda: Sbd(folder).instances("a", 6, 6))


def _listed(case, file, project):
    return Reader(file, lambda: case.listed(project), ("cannot be used",))


def coco(folder):
    case = Case(folder)
    case.draw("a.jpg")
    rle = {"size": [48, 64], "counts": [100, 50, 48 * 64 - 150]}
    case.coco("train.json", ["a.jpg"], [annotation(1, 1, [OUTLINE]), annotation(2, 1, rle), annotation(3, 1, OUTLINE)])
    return _listed(case, folder / "train.json", case.of_coco())


def proposals(folder):
    case = Case(folder)
    case.draw("a.jpg")
    entry = {"image_id": 1, "segmentation": [OUTLINE], "area": 400, "score": 0.5}
    case.coco("train.json", ["a.jpg"], [])
    case.write("proposals.json", [entry, {**entry, "segmentation": SQUARE.astype(int).tolist()}])
    project = case.of_coco(**own(case))
    return Reader(folder / "proposals.json", lambda: case.proposed(project))


def _tags(name, content):
    def make(folder):
        case = Case(folder)
        case.draw("a.jpg", "b.jpg")
        path = case.write(name, content)
        return _listed(case, path, case.of_folder(tags=name))

    return make


def tags_of_voc(folder):
    case = Case(folder)
    voc(case, {"2008_000001": VOC[0].format("") + VOC[1].format("cat")})
    return _listed(case, folder / "VOC2012" / "Annotations" / "2008_000001.xml", case.of_voc())


def map_of_voc(folder):
    case = Case(folder)
    voc(case, {"2008_000001": VOC[0].format("") + VOC[1].format("cat")})
    return _listed(case, folder / "VOC2012" / "SegmentationObject" / "2008_000001.png", case.of_voc())


def instances(folder):
    case = Case(folder)
    case.draw("a.jpg")
    case.write("tags.csv", "image,tags\na.jpg,square\n")
    path = case.write("masks/instances.csv", "image,instance,class\na.jpg,1,square\n")
    Image.fromarray(SQUARE.astype(np.uint8)).save(folder / "masks" / "a.png")
    return _listed(case, path, case.of_folder(masks="masks"))


def _image(name, **options):
    def make(folder):
        from stages.core.images.loading import decode_rgb, image_size, pixel_limit

        path = folder / name
        pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(path, **options)

        def read_all():
            data = path.read_bytes()
            with pixel_limit(10**7):  # time and memory follow images.max_pixels, whose default is many times as much
                return image_size(data, str(path)), decode_rgb(data, str(path))

        return Reader(path, read_all)

    return make


def configuration(folder):
    from stages.project.project import load_files

    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"images": {"name": "x"}, "runs": {"two": {"like": "cim", "proposals": "heg"}}}))
    return Reader(path, lambda: load_files(ROOT / "config.yaml", path), ("the configuration has",))


def metrics(folder):
    from stages.core.artifacts.metrics import read_metrics
    from tests.core.test_core_damaged_text import METRICS

    (folder / "metrics.json").write_text(json.dumps(METRICS))
    return Reader(folder / "metrics.json", lambda: read_metrics(folder / "metrics.json", also=("treatment",)))


def marks(folder):
    from stages.core.artifacts.marks import read_marks

    entry = {"image": "a", "mark": None, "instances": []}
    content = {
        "format": "tagmask marks",
        "version": 1,
        "dataset": "d",
        "split": "val",
        "run": "cim",
        "fingerprint": "f",
    }
    content["images"] = [entry]
    (folder / "marks.json").write_text(json.dumps(content))
    return Reader(folder / "marks.json", lambda: read_marks(folder / "marks.json", run="cim", split="val"))


READERS: dict[str, Callable[[Path], Reader]] = {
    "artifact": artifact,
    "weights": weights,
    "checkpoint of a training": checkpoint,
    "checkpoint of an official code": official_checkpoint,
    "MATLAB 7": mat_5,
    "MATLAB 5": mat_5_plain,
    "MATLAB 7.3": mat_73,
    "SBD": sbd,
    "COCO": coco,
    "proposals as JSON": proposals,
    "tags as CSV": _tags("tags.csv", "image,tags\na.jpg,square;disc\nb.jpg,\n"),
    "tags as JSON": _tags("tags.json", {"a.jpg": ["square"], "b.jpg": []}),
    "tags of Label Studio": _tags("tags.json", [
        {"id": 1, "data": {"image": "a.jpg"}, "annotations": [{"result": [{"value": {"choices": ["square"]}}]}]},
    ]),
    "tags of CVAT": _tags("tags.xml", "<annotations><version>1.1</version><image name='a.jpg' width='64' height='48'>"
                                      "<box label='square' xtl='1' ytl='1' xbr='9' ybr='9'/></image></annotations>"),
    "annotation of VOC": tags_of_voc,
    "map of VOC": map_of_voc,
    "instances.csv": instances,
    "JPEG": _image("a.jpg", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"),
    "PNG": _image("a.png"),
    "TIFF": _image("a.tif", tiffinfo={274: 6}),
    "WebP": _image("a.webp"),
    "configuration": configuration,
    "metrics": metrics,
    "marks": marks,
}  # fmt: skip

TEXTS = [
    b"null",
    b"NaN",
    b"1e999",
    b"-1",
    b"[]",
    b"{}",
    b'""',
    b"true",
    b"[[[[",
    b"]",
    b",",
    b"\0",
    b"\xff\xfe",
    b"9" * 40,
    b"${HOME}",
]


def damaged(data: bytes, draw: np.random.Generator) -> bytes:
    """The bytes with one to four damages: flipped, cut off, repeated, moved, zeroed, replaced by text or numbers."""
    found = bytearray(data)
    for _ in range(int(draw.integers(1, 5))):
        size = max(len(found), 1)
        start = int(draw.integers(0, size))
        end = min(size, start + int(draw.integers(1, 40)))
        match int(draw.integers(0, 9)):
            case 0 | 1 | 2 if found:
                found[min(start, len(found) - 1)] ^= 1 << int(draw.integers(0, 8))
            case 3:
                del found[start:]
            case 4:
                found[start:start] = found[start:end]
            case 5:
                found[start:end] = b"\0" * (end - start)
            case 6:
                found[start:end] = TEXTS[int(draw.integers(0, len(TEXTS)))]
            case 7:
                number = [0, 1, 2**31 - 1, 2**32 - 1, 2**63 - 1, 2**64 - 1][int(draw.integers(0, 6))]
                found[start : start + 8] = struct.pack("<Q", number)
            case _:
                del found[start:end]
    return bytes(found)


def other_json(value, draw: np.random.Generator):
    """A JSON value with one part replaced by one of another type, left out, or repeated."""
    others = [
        None,
        True,
        0,
        -1,
        1.5,
        float("nan"),
        float("inf"),
        1e30,
        2**70,
        "",
        "x",
        "1",
        [],
        [[]],
        {},
        [1, 2, 3],
        "é\0",
    ]
    places = list(_places(value, ()))
    *path, key = places[int(draw.integers(0, len(places)))]
    block = value
    for step in path:
        block = block[step]
    match int(draw.integers(0, 4)):
        case 0:
            del block[key]
        case 1 if isinstance(block, list):
            block.insert(key, block[key])
        case _:
            block[key] = others[int(draw.integers(0, len(others)))]
    return value


def _places(value, path):
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield (*path, key)
        yield from _places(part, (*path, key))
