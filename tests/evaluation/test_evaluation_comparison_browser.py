"""The comparison in a real browser: sorted by mouse and by keyboard, runs chosen, accessible, within its width."""

import pytest

from tests.browser import CHROMIUM, headless, serious_findings, tab_of
from tests.evaluation.test_evaluation_comparison import HOSTILE, compare, metrics_of  # noqa: F401 - a fixture

pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def browser():
    with headless() as browser:
        yield browser


@pytest.fixture
def page(compare, tmp_path):  # noqa: F811
    """Eight runs, of which the third is the best, the fifth is not measured, and the last has a hostile method."""
    values = [10.0, 20.5, 90.0, 5.0, None, 30.0, 40.0, 7.0]
    runs = [
        metrics_of(f"run_{i}", masks={"voc": {"mAP50": value}, "ABO": 50.0 - i, "MABO": 49.0})
        for i, value in enumerate(values)
    ]
    runs[-1]["method"] = HOSTILE
    compare(runs, {f"run_{i}": {"method": "cim"} for i in range(8)})
    return tmp_path / "t.html"


def names(tab) -> list[str]:
    return (
        tab.locator("table")
        .first.locator("tbody th[scope=row]")
        .evaluate_all("all => all.map(one => one.dataset.value)")
    )


def test_tables_are_sorted_by_mouse_and_by_keyboard(page, browser):
    with tab_of(browser) as tab:
        tab.goto(page.as_uri())
        assert names(tab) == ["run_2", "run_6", "run_5", "run_1", "run_0", "run_7", "run_3", "run_4"]
        head = tab.locator("table").first.get_by_role("button", name="ABO (over instances)")
        head.click()
        assert names(tab) == [f"run_{i}" for i in range(8)]
        assert tab.locator("table").first.locator("th[aria-sort=descending]").inner_text().startswith("ABO")
        tab.locator("table").first.get_by_role("button", name="mAP50 (voc)").focus()
        tab.keyboard.press("Enter")
        tab.keyboard.press("Enter")
        assert names(tab) == ["run_3", "run_7", "run_0", "run_1", "run_5", "run_6", "run_2", "run_4"]  # unknown last


def test_runs_are_chosen_for_the_charts(page, browser):
    with tab_of(browser) as tab:
        tab.goto(page.as_uri())
        drawn = tab.locator("polyline:visible").count()
        tab.locator(".choice input").first.uncheck()
        assert tab.locator("polyline:visible").count() == drawn - 1


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1366, 768, "light"), (1366, 768, "dark"), (390, 844, "light")]
)
def test_the_page_is_accessible_and_fits(page, browser, width, height, scheme):
    with tab_of(browser, width, height, scheme=scheme, bypass_csp=True) as tab:
        tab.goto(page.as_uri())
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert serious_findings(tab) == []
