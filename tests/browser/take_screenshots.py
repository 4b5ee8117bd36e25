"""Writes docs/screenshots/: each page light, the fleet also dark and on a phone.

`make screenshots` runs it; by its name it is no part of a test run.
"""

from pathlib import Path

import pytest
from playwright.async_api import Browser

from .conftest import Scheme, visiting
from .test_in_chromium import PAGES, PHONE, compare

FOLDER = Path(__file__).parents[2] / "docs/screenshots"

BYTES_MAX = 150_000

DESK = 1120

SHOTS: list[tuple[str, Scheme, int]] = [
    *((name, "light", DESK) for name in PAGES),
    ("fleet", "dark", DESK),
    ("fleet", "light", PHONE),
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
        await page.screenshot(path=file, full_page=True)
    assert file.stat().st_size < BYTES_MAX


async def test_a_comparison_is_drawn(chromium: Browser, address: str) -> None:
    """What a file would move, as far as it fits on a screen."""
    file = FOLDER / "policy-compared.png"
    async with visiting(chromium, address) as page:
        await compare(page)
        await page.screenshot(path=file)
    assert file.stat().st_size < BYTES_MAX
