"""PNG maps of other methods, and the annotated maps as an oracle."""

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from stages.core.artifacts.images import ImageRecord
from stages.core.artifacts.semantic_maps import SemanticMaps
from stages.semantics.import_semantics import import_semantics, value_table
from stages.semantics.settings import PngImportSettings, PngSource
from stages.semantics.take_annotations import take_annotations
from tests.semantics.conftest import CLASSES, maps_in, write


def save(path, values, mode="P"):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(values)
    if mode == "P":
        image.putpalette([i % 256 for i in range(7, 7 + 768)])  # colours that are not the indices
    image.save(path)


@pytest.fixture
def folder(toy, tmp_path):
    """A palette map of each image: its ground truth."""
    for i, name in enumerate(toy.ids):
        save(tmp_path / "maps" / f"{name}.png", toy.ground_truth(i))
    return tmp_path / "maps"


@pytest.fixture
def import_from(toy, tmp_path):
    def import_from(folder, *, class_values=None, images=toy.images):
        output = tmp_path / "maps.h5"
        settings = PngImportSettings(folder=str(folder), class_values=class_values, supervision="image tags, saliency")
        import_semantics(images=images, output=output, settings=settings, source="irn")
        return maps_in(output)

    return import_from


@pytest.mark.parametrize("mode", ["P", "L"])
def test_palette_indices_and_grey_values_are_the_labels(import_from, folder, toy, mode):
    for i, name in enumerate(toy.ids):
        save(folder / f"{name}.png", toy.ground_truth(i), mode)
    header, maps = import_from(folder)
    assert header == {"classes": CLASSES, "source": "irn", "supervision": "image tags, saliency"}
    for i, name in enumerate(toy.ids):
        np.testing.assert_array_equal(maps[name], toy.ground_truth(i))


def test_values_of_classes_are_translated_and_others_become_background(import_from, folder, toy):
    """The maps of a larger data set: cat 8, dog 12, hen 3; 15 is a class that ours leaves out."""
    values = np.zeros(toy.sizes[0], np.uint8)
    values[0, :6] = [8, 12, 3, 15, 1, 255]
    save(folder / "p0.png", values)
    _, maps = import_from(folder, class_values={"cat": 8, "dog": 12, "hen": 3})
    assert maps["p0"][0, :7].tolist() == [1, 2, 3, 0, 0, 255, 0]


@pytest.mark.parametrize(
    ("class_values", "message"),
    [
        pytest.param({"cat": 1, "dog": 2}, r"lacks classes \['hen'\] and names unknown ones \[\]", id="lacks one"),
        pytest.param({"cat": 1, "dog": 2, "hen": 3, "cow": 4}, r"unknown ones \['cow'\]", id="one too many"),
        pytest.param({}, r"lacks classes \['cat', 'dog', 'hen'\]", id="empty"),
    ],
)
def test_class_values_must_name_each_class(class_values, message):
    with pytest.raises(ValueError, match=message):
        value_table(CLASSES, class_values)


@pytest.mark.parametrize(
    ("class_values", "message"),
    [
        pytest.param({"cat": 8, "dog": 8}, "gives one value to several classes", id="twice"),
        pytest.param({"cat": 0}, "greater than or equal to 1", id="background"),
        pytest.param({"cat": 255}, "less than or equal to 254", id="uncertain"),
    ],
)
def test_values_that_cannot_be_are_refused(class_values, message):
    with pytest.raises(ValidationError, match=message):
        PngSource(kind="png", folders={"train": "x"}, class_values=class_values, supervision="image tags")


def test_all_missing_files_are_counted_and_the_first_named(import_from, folder):
    for name in ("p1", "p3"):
        (folder / f"{name}.png").unlink()
    with pytest.raises(FileNotFoundError, match="has no map of 2 of 4 images: p1.png, p3.png; add them"):
        import_from(folder)


def test_a_missing_folder_is_named(import_from, tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere does not exist; `folders` must name"):
        import_from(tmp_path / "nowhere")


def cut_off(path):
    path.write_bytes(path.read_bytes()[:-40])


BAD = {
    "size": (lambda p: save(p, np.zeros((70, 50), np.uint8)), "is 70x50 pixels .* expected 50x70"),
    "value": (lambda p: save(p, np.full((50, 70), 4, np.uint8)), "holds values 4, expected .* 1 to 3 .* set class_values"),
    "colours": (lambda p: save(p, np.zeros((50, 70, 3), np.uint8), "RGB"), "is PNG of mode RGB, expected a PNG of one byte"),
    "transparent": (lambda p: save(p, np.zeros((50, 70, 4), np.uint8), "RGBA"), "is PNG of mode RGBA"),
    "16 bits": (lambda p: save(p, np.zeros((50, 70), np.uint16), "I;16"), "is PNG of mode I;16"),
    "1 bit": (lambda p: Image.new("1", (70, 50)).save(p), "is PNG of mode 1"),
    "JPEG": (lambda p: Image.new("L", (70, 50)).save(p, format="JPEG"), "is JPEG of mode L, expected a PNG"),
    "cut off": (cut_off, "cannot be decoded .* cut off or damaged"),
    "empty": (lambda p: p.write_bytes(b""), "cannot be decoded"),
    "text": (lambda p: p.write_text("no image"), "cannot be decoded"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD)
def test_a_bad_file_is_named_with_what_was_found_and_expected(import_from, folder, tmp_path, bad):
    spoil, message = BAD[bad]
    spoil(folder / "p0.png")
    with pytest.raises(ValueError, match=message) as caught:
        import_from(folder)
    assert "p0.png" in str(caught.value)
    assert not (tmp_path / "maps.h5").exists()


def test_maps_without_any_class_are_warned_of(import_from, folder, toy, caplog):
    for i, name in enumerate(toy.ids):
        save(folder / f"{name}.png", np.zeros(toy.sizes[i], np.uint8))
    import_from(folder)
    assert "no map holds any class: check the values" in caplog.text


def test_no_images_need_no_files(import_from, folder, tmp_path):
    assert import_from(folder, images=write(tmp_path / "none.h5", ImageRecord, []))[1] == {}


@pytest.fixture
def take(toy, tmp_path):
    def take(maps, **header):
        annotations = write(tmp_path / "annotations.h5", SemanticMaps, maps, **{"supervision": "masks", **header})
        output = tmp_path / "oracle.h5"
        take_annotations(images=toy.images, annotations=annotations, output=output, source="annotated")
        return maps_in(output)

    return take


def test_the_oracle_is_the_annotation_and_says_that_it_is_supervised_by_masks(take, toy, caplog):
    header, maps = take(toy.maps[::-1])
    assert header == {"classes": CLASSES, "source": "annotated", "supervision": "masks"}
    assert list(maps) == list(toy.ids)
    for i, name in enumerate(toy.ids):
        np.testing.assert_array_equal(maps[name], toy.ground_truth(i))
    assert "no weak supervision" in caplog.text


@pytest.mark.parametrize(
    ("records", "header", "message"),
    [
        pytest.param(slice(1, 4), {}, "lacks 1 of the 4 images .* 'p0'", id="missing image"),
        pytest.param(slice(0, 4), {"classes": ["cat"]}, "holds classes", id="other classes"),
        pytest.param(slice(0, 4), {"supervision": "image tags"}, "has supervision 'image tags', expected 'masks'", id="no annotation"),
    ],
)  # fmt: skip
def test_annotations_that_do_not_fit_are_refused(take, toy, records, header, message):
    with pytest.raises(ValueError, match=message):
        take(toy.maps[records], **header)
