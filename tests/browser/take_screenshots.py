"""Writes docs/screenshots/: each page light, fleet and organization also dark and on a phone.

`make screenshots` runs it; by its name it is no part of a test run.
"""

from pathlib import Path

import pytest
from playwright.async_api import Browser, FloatRect

from .conftest import Scheme, visiting
from .test_in_chromium import PAGES, PHONE, compare

FOLDER = Path(__file__).parents[2] / "docs/screenshots"

BYTES_MAX = 250_000

LENGTH_MAX = 1_500
"""In pixels: a longer page is cut."""

DESK = 1120

SHOTS: list[tuple[str, Scheme, int]] = [
    *((name, "light", DESK) for name in PAGES),
    *((name, "dark", DESK) for name in ("fleet", "organization")),
    *((name, "light", PHONE) for name in ("fleet", "organization")),
]


@pytest.mark.parametrize(("name", "scheme", "width"), SHOTS)
async def test_a_page_is_drawn(
    chromium: Browser, address: str, name: str, scheme: Scheme, width: int
) -> None:
    """A file small enough for a page of documentation."""
    variants = [*(["dark"] if scheme == "dark" else []), *(["phone"] if width == PHONE else [])]
    file = FOLDER / f"{'-'.join([name, *variants])}.png"
    async with visiting(chromium, address, scheme=scheme, width=width) as page:
        await page.goto(PAGES[name])
        length = await page.evaluate("document.documentElement.scrollHeight")
        clip: FloatRect = {"x": 0, "y": 0, "width": width, "height": min(length, LENGTH_MAX)}
        await page.screenshot(path=file, full_page=True, clip=clip)
    assert file.stat().st_size < BYTES_MAX


async def test_a_comparison_is_drawn(chromium: Browser, address: str) -> None:
    """What a file would move, as far as it fits on a screen."""
    file = FOLDER / "policy-compared.png"
    async with visiting(chromium, address) as page:
        await compare(page)
        await page.screenshot(path=file)
    assert file.stat().st_size < BYTES_MAX
