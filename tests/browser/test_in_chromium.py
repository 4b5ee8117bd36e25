"""The pages in a browser: no error, no report of the CSP, accessible, also dark and on a phone."""

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page

from .conftest import Scheme, visiting

PAGES = {
    "fleet": "/",
    "organizations": "/organizations?due-within=P30D",
    "organization": "/organizations/acme",
    "dead-letters": "/dead-letters",
    "dead-letters-of-a-group": "/dead-letters/list",
    "dead-letter": "/dead-letters/1",
    "policy": "/policy",
}
"""A path for each page; the names are those of the screenshots."""

PHONE = 390


@pytest.mark.parametrize("width", [1280, PHONE], ids=["desktop", "phone"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
async def test_a_page_is_accessible_and_fits(
    chromium: Browser, address: str, name: str, scheme: Scheme, width: int
) -> None:
    """Axe finds nothing, and nothing is wider than the screen."""
    async with visiting(chromium, address, scheme=scheme, width=width) as page:
        await page.goto(PAGES[name])
        found = await Axe().run(page)
        assert not found.violations_count, found.generate_report()
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_content_is_reached_with_one_key(chromium: Browser, address: str) -> None:
    """The first tab stop skips the navigation, and is seen only then."""
    async with visiting(chromium, address) as page:
        await page.goto("/")
        await page.keyboard.press("Tab")
        skip = page.get_by_role("link", name="Skip to the content")
        assert await skip.evaluate("each => each === document.activeElement")
        await page.keyboard.press("Enter")
        assert await page.evaluate("document.activeElement.id") == "main"


async def test_the_figures_of_the_fleet_are_loaded_again(chromium: Browser, address: str) -> None:
    """By htmx, without a reload of the page."""
    async with visiting(chromium, address) as page:
        await page.clock.install()
        await page.goto("/")
        async with page.expect_response("**/now") as answer:
            await page.clock.run_for(20_000)
        assert (await answer.value).ok


async def compare(page: Page) -> None:
    """Choose a policy file, and wait for what it would move."""
    await page.goto("/policy")
    slower = b'version = "slower"\n[timeline.payg]\ndeactivated = "P60D"\n'
    file = {"name": "policy.toml", "mimeType": "text/plain", "buffer": slower}
    await page.get_by_label("Policy file").set_input_files(file)  # type: ignore[arg-type]  # its own
    await page.get_by_role("button", name="Compare").click()
    await page.get_by_role("heading", name="slower instead of default").wait_for()


async def test_a_policy_file_is_compared(chromium: Browser, address: str) -> None:
    """Chosen in the browser; the answer says who moves."""
    async with visiting(chromium, address) as page:
        await compare(page)
        found = await Axe().run(page)
        assert not found.violations_count, found.generate_report()


async def test_a_command_is_copied(chromium: Browser, address: str) -> None:
    """As it stands there; the button says so."""
    async with visiting(chromium, address) as page:
        await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        await page.goto("/organizations/acme")
        await page.get_by_role("button", name="Copy").last.click()
        await page.get_by_role("button", name="Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == "marketplace-worker tail --org acme"


async def test_an_organization_is_found_by_its_id(chromium: Browser, address: str) -> None:
    """From any page."""
    async with visiting(chromium, address) as page:
        await page.goto("/policy")
        await page.get_by_role("textbox", name="Id of an organization").fill("acme")
        await page.keyboard.press("Enter")
        await page.get_by_role("heading", name="acme", exact=True).wait_for()
