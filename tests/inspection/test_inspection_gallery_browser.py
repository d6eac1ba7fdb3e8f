"""The gallery in a real browser: found, sorted, opened, compared and judged, by mouse and by keyboard alone."""

import io
import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from stages.inspection.build_gallery import build_gallery
from tests.browser import CHROMIUM, headless, serious_findings, tab_of
from tests.inspection.test_inspection_gallery import LEFT, RIGHT, SETTINGS, World

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)
EVIL = '<script>alert(1)</script> "it\'s" & \n ü'
CLASSES = ["cat", EVIL]
WIDE = SETTINGS.model_copy(update={"images": None, "predictions": 9, "proposals": 9})


@pytest.fixture(scope="module")
def gallery(tmp_path_factory) -> Path:
    """45 images: of 0 all is right, 1 misses one, 2 has a duplicate, 3 is one class wrong, 4 has the hostile name."""
    folder = tmp_path_factory.mktemp("gallery")
    toy = World(folder, [EVIL if i == 4 else f"image {i:02d}" for i in range(45)], CLASSES)
    for i in toy.images:
        toy.instances[i] = toy.predicted(i, [LEFT], [0], [0.9])
    toy.ground_truth["image 01"] = toy.annotated("image 01", [LEFT, RIGHT], [0, 0])
    toy.instances["image 02"] = toy.predicted("image 02", [LEFT, LEFT], [0, 0], [0.9, 0.4])
    toy.instances["image 03"] = toy.predicted("image 03", [LEFT], [1], [0.35])
    toy.retrained = {i: toy.predicted(i, [RIGHT if i == "image 05" else LEFT], [0], [0.7]) for i in toy.images}
    arguments = toy.write()
    build_gallery(**{**arguments, "settings": WIDE})
    return arguments["output"]


@pytest.fixture(scope="module")
def browser():
    with headless() as browser:
        yield browser


@pytest.fixture
def tab(gallery, browser):
    with tab_of(browser) as tab:
        tab.goto(gallery.as_uri())
        tab.locator(".panel canvas").first.wait_for()
        yield tab


def names(tab) -> list[str]:
    return tab.locator("section.row").evaluate_all("rows => rows.map(row => row.getAttribute('aria-label'))")


def found(tab, text: str):
    return tab.locator("#status", has_text=text).wait_for()


def listed(tab, expected: list[str]) -> None:
    """Wait until these rows are listed, and no others."""
    until(tab, lambda: names(tab) == expected)


def until(tab, holds: Callable[[], bool]) -> None:
    """Wait five seconds at most until something holds."""
    for _ in range(100):
        if holds():
            return
        tab.wait_for_timeout(50)
    assert holds()


def pixels(tab, selector: str = "#viewer .stage") -> np.ndarray:
    """What is seen of an element, (H, W, 3)."""
    tab.mouse.move(0, 0)
    tab.wait_for_timeout(150)
    return np.array(Image.open(io.BytesIO(tab.locator(selector).first.screenshot())).convert("RGB"))


def test_rows_are_paged_and_their_panels_are_drawn(tab):
    found(tab, "Images 1 to 20 of 45 found, 45 in all")
    assert names(tab)[:2] == ["image 00", "image 01"]
    first = tab.locator("section.row").first
    assert first.locator("figcaption b").all_inner_texts() == [
        "image", "proposals", "PRM, tagged: cat", f"PRM, predicted: {' '.join(EVIL.split())}", "AGPL labels",
        "predictions", "predictions, mask_rcnn", "ground truth",
    ]  # fmt: skip
    assert "1 cat 0.90 right IoU 1.00" in first.inner_text()
    tab.get_by_role("button", name="next →").first.click()
    found(tab, "Images 21 to 40 of 45")
    assert "page=2" in tab.url


def test_filters_orders_and_their_address(tab, gallery):
    tab.select_option("#find-sort", "missed")
    found(tab, "Images 1 to 20")
    until(tab, lambda: set(names(tab)[:2]) == {"image 01", "image 03"})
    for kind, expected in [("missed", ["image 01", "image 03"]), ("duplicate", ["image 02"]), ("class", ["image 03"])]:
        tab.select_option("#find-kind", kind)
        listed(tab, expected)
    address = tab.url
    tab.locator("#find-all").click()
    found(tab, "of 45 found")
    tab.goto("about:blank")
    tab.goto(address)
    listed(tab, ["image 03"])
    assert tab.input_value("#find-kind") == "class"
    tab.locator("#find-all").click()
    tab.fill("#find-q", "MAGE 1")
    found(tab, "of 10 found")
    tab.fill("#find-q", "")
    tab.select_option("#find-class", EVIL)
    found(tab, "of 1 found")
    tab.select_option("#find-class", "")
    tab.fill("#find-count_from", "2")
    listed(tab, ["image 02"])
    tab.locator("#find-score").fill("0.5")  # its second instance has .4
    found(tab, "No image of 45")


def test_largest_change_comes_first(tab):
    tab.select_option("#find-sort", "change 0")
    until(tab, lambda: set(names(tab)[:2]) == {"image 03", "image 05"})


def test_an_image_is_opened_layers_are_switched_and_compared(tab):
    tab.locator("section.row").nth(5).locator(".panel").nth(5).click()
    tab.locator("#viewer[open]").wait_for()
    assert tab.locator("#viewer-name").inner_text() == "image 05"
    assert "open=image+05" in tab.url
    with_layer = pixels(tab)
    tab.keyboard.press("5")
    assert (pixels(tab) != with_layer).any()
    tab.keyboard.press("5")
    assert (pixels(tab) == with_layer).all()
    tab.select_option("#viewer .first", label="predictions")
    tab.select_option("#viewer .second", label="predictions, mask_rcnn")
    assert "predictions alone" in tab.locator("#viewer .legend").inner_text()
    seen = pixels(tab)
    for colour in ((213, 94, 0), (0, 114, 178)):
        assert (seen == colour).all(-1).any(), colour
    tab.keyboard.press("ArrowRight")
    tab.locator("#viewer-name", has_text="image 06").wait_for()


def test_the_score_slider_redraws(tab):
    tab.locator("section.row").nth(2).locator(".panel").nth(5).click()
    tab.locator("#viewer .instances li").nth(1).wait_for()
    before = pixels(tab)
    tab.locator("#viewer [data-score]").fill("0.95")
    tab.locator("#viewer .instances-of", has_text="0 of 2").wait_for()
    assert (pixels(tab) != before).any()
    tab.locator("#viewer [data-score]").fill("0.5")
    tab.locator("#viewer .instances-of", has_text="1 of 2").wait_for()


def test_zoom_and_what_lies_below_the_pointer(tab):
    tab.locator("section.row").first.locator(".panel").nth(5).click()
    tab.locator("#viewer .instances li").first.wait_for()
    box = tab.locator("#viewer canvas").bounding_box()
    at = (box["x"] + box["width"] * 8 / 32, box["y"] + box["height"] * 10 / 24)
    tab.mouse.move(*at)
    assert tab.locator("#viewer .tip").inner_text() == "1 cat 0.90 right IoU 1.00, 216 pixels"
    tab.mouse.move(box["x"] + box["width"] * 0.9, at[1])
    assert tab.locator("#viewer .tip").is_hidden()
    tab.mouse.move(*at)
    tab.mouse.wheel(0, -300)
    until(tab, lambda: tab.locator("#viewer canvas").bounding_box()["width"] > 1.2 * box["width"])
    tab.mouse.click(*at)
    tab.locator("#viewer .instances [aria-pressed=true]").wait_for()
    tab.keyboard.press("0")
    until(tab, lambda: tab.locator("#viewer canvas").bounding_box()["width"] == pytest.approx(box["width"], rel=0.01))


def test_marks_by_keyboard_alone_saved_and_read_again(tab, gallery, tmp_path):
    tab.locator("section.row").nth(2).locator(".panel").nth(5).focus()
    tab.keyboard.press("Enter")
    tab.locator("#viewer .instances li").nth(1).wait_for()
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("g")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("b")
    tab.keyboard.press("ArrowRight")
    tab.locator("#viewer-name", has_text="image 03").wait_for()
    tab.wait_for_timeout(1000)
    tab.keyboard.press("w")
    assert tab.locator("#viewer .said").inner_text() == "the image: marked wrong class"
    tab.keyboard.press("Escape")
    tab.locator("#viewer").wait_for(state="hidden")
    with tab.expect_download() as download:
        tab.get_by_role("button", name="Save marks").press("Enter")
    saved = tmp_path / "marks.json"
    download.value.save_as(saved)
    marks = json.loads(saved.read_text())
    assert (marks["format"], marks["run"], marks["split"], marks["dataset"]) == ("tagmask marks", "cim", "val", "toy")
    two, three = marks["images"]
    assert two["image"] == "image 02"
    assert [(one["layer"], one["index"], one["class"], one["score"], one["mark"]) for one in two["instances"]] == [
        ("predictions", 0, "cat", 0.9, "good"), ("predictions", 1, "cat", 0.4, "bad"),
    ]  # fmt: skip
    assert three == {"image": "image 03", "mark": "wrong class", "instances": []}
    tab.select_option("#find-mark", "any")
    found(tab, "of 2 found")
    tab.reload()  # the browser keeps them, too
    found(tab, "of 2 found")
    fresh = tab.context.browser.new_context().new_page()
    fresh.goto(gallery.as_uri())
    fresh.locator(".panel canvas").first.wait_for()
    fresh.set_input_files("#load-marks", saved)
    fresh.locator("#marks-said", has_text="marks are read").wait_for()
    fresh.select_option("#find-mark", "bad")
    found(fresh, "of 1 found")
    broken = tmp_path / "broken.json"
    for text, said in [(json.dumps({**marks, "run": "other"}), "these are marks of toy val other"), ("{", "not read")]:
        broken.write_text(text)
        fresh.set_input_files("#load-marks", broken)
        fresh.locator("#marks-said", has_text=said).wait_for()


def test_hostile_names_stay_text_everywhere(tab):
    dialogs = []
    tab.on("dialog", lambda dialog: dialogs.append(dialog.message) or dialog.dismiss())
    row = tab.locator("section.row").nth(4)
    assert row.locator("h2").inner_text().startswith("<script>alert(1)</script>")
    row.locator(".panel").nth(5).click()
    tab.locator("#viewer .instances li").first.wait_for()
    assert "<script>" in tab.locator("#viewer-name").inner_text()
    tab.reload()
    tab.locator("#viewer[open]").wait_for()
    assert dialogs == []


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1366, 768, "light"), (1366, 768, "dark"), (390, 844, "light")]
)
def test_the_page_is_accessible_and_fits(gallery, browser, width, height, scheme):
    with tab_of(browser, width, height, scheme=scheme, bypass_csp=True) as tab:
        tab.goto(gallery.as_uri())
        tab.locator(".panel canvas").first.wait_for()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_findings(tab) == []
        tab.locator(".panel").nth(5).click()
        tab.locator("#viewer .instances li").first.wait_for()
        assert serious_findings(tab) == []


def test_a_single_file_opens_where_there_is_nothing_beside_it(tmp_path, browser):
    toy = World(tmp_path, ["a", "b"], ["cat", "dog"])
    arguments = toy.write()
    build_gallery(**{**arguments, "settings": WIDE.model_copy(update={"single_file": True})})
    alone = tmp_path / "elsewhere" / "page.html"
    alone.parent.mkdir()
    alone.write_bytes(arguments["output"].read_bytes())
    with tab_of(browser) as tab:
        tab.goto(alone.as_uri())
        tab.locator(".panel canvas").nth(7).wait_for()
        tab.locator(".panel").nth(5).click()
        tab.locator("#viewer .instances li").first.wait_for()


def test_missing_data_are_named(gallery, tmp_path, browser):
    alone = tmp_path / "index.html"
    alone.write_bytes(gallery.read_bytes())
    with pytest.raises(AssertionError, match=re.escape("000000.js")), tab_of(browser) as tab:
        tab.goto(alone.as_uri())
        tab.locator(".notice", has_text="the folder data must stand beside the page").first.wait_for()
