"""A headless Chromium, where there is one, that fails on errors of a page and on requests off the machine."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip

LOCAL = ("file:", "data:", "blob:", "about:")


@contextlib.contextmanager
def headless() -> Iterator[Any]:
    """A browser without a window."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@contextlib.contextmanager
def tab_of(browser: Any, width: int = 1366, height: int = 768, *, scheme: str = "light", **more: Any) -> Iterator[Any]:
    """A tab of a window of that size, which shares nothing with others.

    On leaving: AssertionError where the page erred, or asked for what is no file of this machine.
    """
    wrong: list[str] = []
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme, **more)
    page = context.new_page()
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(LOCAL) else wrong.append(asked.url))
    page.on("requestfailed", lambda asked: wrong.append(f"failed: {asked.url}"))
    try:
        yield page
    finally:
        context.close()
    if wrong:
        raise AssertionError("; ".join(wrong))


def serious_findings(page: Any) -> list[str]:
    """What axe-core finds serious or critical on a page, with the elements."""
    from axe_playwright_python.sync_playwright import Axe

    found = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    return [f"{one['id']}: {node['html'][:120]}" for one in found for node in one["nodes"]]
