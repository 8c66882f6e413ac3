"""The invitee's page in Chromium: what a person does and sees."""

import re
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from domain.refund import RefundState
from domain.text import LANGUAGES
from portal.guide import GUIDES
from tests.portal.browser import PHONE, Reader, chromium, reading, require_accessible
from tests.world import ADMIN, JANE, OWNER, World, a_paying_owner

TOM = "tom@example.com"
REVIEW = "Review before joining"


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


@pytest.fixture
async def reader(world: World, browser: Browser) -> AsyncIterator[Reader]:
    async with reading(world, browser) as reader:
        yield reader


async def a_free_owner(world: World) -> None:
    await world.imported("jane-free", plan="free", users=[(JANE, "owner")])
    await world.pending(JANE)


async def press(page: Page, name: str) -> None:
    await page.get_by_role("button", name=name).click()


async def on_page(page: Page, name: str, state: str | None = None) -> None:
    """Wait for the page, and check it."""
    await expect(page.locator("main")).to_have_attribute("data-page", name)
    if state:
        await expect(page.locator("main")).to_have_attribute("data-state", state)
    await require_accessible(page)


async def accepted(world: World) -> int:
    """Return the number of acceptances in the journal."""
    return [entry.event for entry in (await world.show(JANE)).journal].count("accept")


async def refund_of(world: World) -> str:
    settlement = (await world.show(JANE)).settlement
    assert settlement is not None
    assert settlement.refund_id is not None
    return settlement.refund_id


async def test_a_free_user_joins(reader: Reader) -> None:
    """INV-10: review, join, and the page says so."""
    await a_free_owner(reader.world)
    async with reader.opened(JANE) as page:
        await on_page(page, "invitation", "pending")
        await press(page, REVIEW)
        await on_page(page, "review")
        await press(page, "Join ")
        await on_page(page, "invitation")
        await expect(page.locator("h1")).to_contain_text("You have joined")


async def test_a_refund_is_followed_live_until_it_is_settled(reader: Reader) -> None:
    """REF-2: without a reload; the reader hears of it."""
    await a_paying_owner(reader.world)
    async with reader.opened(JANE) as page:
        await on_page(page, "invitation", "pending")
        await page.get_by_text("Refund it to me").click()
        await press(page, REVIEW)
        await on_page(page, "review")
        await press(page, "Join ")
        await on_page(page, "invitation", "refunding")
        refund_id = await refund_of(reader.world)
        await reader.world.clock.pass_time(f"refund/{refund_id}", timedelta(days=8))
        await reader.world.refund_until(refund_id, RefundState.SETTLED)
        await expect(page.locator("#live")).to_contain_text("Refund settled", timeout=30_000)
        await expect(page.locator("#news")).to_contain_text("This page was updated.")
        await on_page(page, "invitation", "completed")


async def test_a_transfer_by_keyboard_alone(reader: Reader) -> None:
    """WCAG 2.1.1, 2.4.7: every step by keys, with a visible focus."""
    await a_paying_owner(reader.world)
    async with reader.opened(JANE) as page:
        await tab_to(page, 'input[value="refund"]')
        await page.keyboard.press("ArrowDown")
        await expect(page.locator('input[value="transfer"]')).to_be_checked()
        await tab_to(page, ".button.main")
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px"
        await page.keyboard.press("Enter")
        await on_page(page, "review")
        await tab_to(page, ".button.main")
        await page.keyboard.press("Enter")
        await expect(page.locator("h1")).to_contain_text("You have joined")
        await expect(page.locator("#live")).to_contain_text("was credited to")


async def tab_to(page: Page, selector: str) -> None:
    """Move the focus to the element by Tab."""
    for _ in range(30):
        await page.keyboard.press("Tab")
        if await page.evaluate("selector => document.activeElement.matches(selector)", selector):
            return
    raise AssertionError(f"the Tab key does not reach {selector}")


async def test_blocked_then_cleared_then_accepted_on_a_phone(reader: Reader) -> None:
    """BLK-4: the open page says that something changed; a new look offers to join."""
    world = reader.world
    await world.imported("jane-free", plan="free", users=[(JANE, "owner"), (TOM, "member")])
    await world.pending(JANE)
    async with reader.opened(JANE, viewport={"width": PHONE, "height": 740}) as page:
        await on_page(page, "invitation")
        await expect(page.locator('[data-blocker="1009"]')).to_contain_text(TOM)
        await press(page, "Check again")
        await on_page(page, "invitation", "blocked")
        await world.remove_user("jane-free", TOM)
        await page.get_by_role("link", name="Show it").click(timeout=30_000)
        await on_page(page, "invitation", "pending")
        await press(page, REVIEW)
        await on_page(page, "review")
        await press(page, "Join ")
        await expect(page.locator("h1")).to_contain_text("You have joined")


async def test_a_decline_with_a_reason(reader: Reader) -> None:
    """INV-7: the page ends with what was said and whom to ask."""
    await a_free_owner(reader.world)
    async with reader.opened(JANE, color_scheme="dark") as page:
        await page.locator("summary", has_text="Decline").click()
        await page.get_by_label("Reason").fill("I like it here")
        await require_accessible(page)
        await press(page, "Decline the invitation")
        await on_page(page, "invitation", "declined")
        await expect(page.locator("main")).to_contain_text("I like it here")


async def test_links_that_no_longer_work(reader: Reader) -> None:
    """INV-9, INV-13: replaced, expired and forged."""
    await a_free_owner(reader.world)
    async with reader.opened(JANE) as page:
        address = page.url
        await reader.world.pass_time(JANE, timedelta(hours=2))
        await reader.world.client.resend(reader.world.account, JANE, OWNER)
        newest = await reader.link(JANE)
        await page.goto(address)
        await on_page(page, "replaced")
        await page.goto(f"{address}x")
        await on_page(page, "not-found")
        await reader.world.pass_time(JANE, timedelta(days=31))
        await reader.world.until(JANE, "expired")
        await page.goto(newest)
        await on_page(page, "invitation", "expired")


async def test_double_click_two_tabs_back_and_reload_join_once(reader: Reader) -> None:
    """INV-10: one effect."""
    await a_free_owner(reader.world)
    async with reader.opened(JANE) as page, reader.opened(JANE) as other:
        for tab in (page, other):
            await press(tab, REVIEW)
            await on_page(tab, "review")
        await page.locator(".button.main").dblclick()
        await expect(page.locator("h1")).to_contain_text("You have joined")
        await other.locator(".button.main").click()
        await expect(other.locator("h1")).to_contain_text("You have joined")
        await page.reload()
        await page.go_back()
        await page.goto(other.url)
        await expect(page.locator("h1")).to_contain_text("You have joined")
        assert await accepted(reader.world) == 1


async def test_a_quote_that_expires_on_the_open_page(reader: Reader) -> None:
    """QUO-5: the new amount and the old one, before anything is done."""
    await a_paying_owner(reader.world)
    async with reader.opened(JANE) as page:
        await page.get_by_text("Refund it to me").click()
        await press(page, REVIEW)
        await on_page(page, "review")
        old = await page.locator("[data-total]").get_attribute("data-total")
        await reader.world.pass_time(JANE, timedelta(days=9))
        await press(page, "Join ")
        await expect(page.locator("main")).to_have_attribute("data-error", "quote_expired")
        await on_page(page, "review")
        await expect(page.locator("main")).to_contain_text(f"It was €{old}")
        assert await accepted(reader.world) == 0
        await press(page, "Join ")
        await expect(page.locator("h1")).to_contain_text("You have joined")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_page_in_each_language(reader: Reader, language: str) -> None:
    """TXT-1: invitation, review and the page after joining, on a phone."""
    await a_paying_owner(reader.world)
    titles = set[str]()
    async with reader.opened(JANE, viewport={"width": PHONE, "height": 740}) as page:

        async def read(name: str) -> None:
            await expect(page.locator("html")).to_have_attribute("lang", language)
            await on_page(page, name)
            titles.add(await page.locator("h1").inner_text())

        await page.goto(f"{page.url}?lang={language}")
        await read("invitation")
        await page.locator('input[value="transfer"]').check()
        await page.locator(".button.main").click()
        await read("review")
        await page.locator(".button.main").click()
        await expect(page.locator("#live")).to_be_visible()
        await read("invitation")
    assert ("Check before you join" in titles) == (language == "en")
    assert len(titles) == 3


async def test_everything_works_without_javascript(reader: Reader) -> None:
    """The page is a form; a refresh is a link."""
    await a_paying_owner(reader.world)
    context = await reader.browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(await reader.link(JANE))
    await page.get_by_text("Refund it to me").click()
    await press(page, REVIEW)
    await press(page, "Join ")
    await expect(page.locator("h1")).to_contain_text("You have joined")
    await page.get_by_role("link", name="Refresh").click()
    await expect(page.locator("h1")).to_contain_text("You have joined")
    await context.close()


async def test_a_failed_refund_becomes_credit(reader: Reader) -> None:
    """REF-4: the payee decides on the page, which follows."""
    await a_paying_owner(reader.world, refundable=False)
    async with reader.opened(JANE) as page:
        await page.get_by_text("Refund it to me").click()
        await press(page, REVIEW)
        await press(page, "Join ")
        await expect(page.locator("#live")).to_contain_text("Refund failed", timeout=30_000)
        await on_page(page, "invitation", "refunding")
        await press(page, "Give €")
        await expect(page.locator("#live")).to_contain_text("because the refund failed")
        await on_page(page, "invitation")


async def test_an_update_disturbs_neither_open_details_nor_a_choice(reader: Reader) -> None:
    """Nothing moves under the reader's pointer, and nothing is announced without a change."""
    world = reader.world
    await a_paying_owner(world, refundable=False, bank=True)
    methods = [{"id": "card-9", "kind": "card"}]
    await world.imported(
        "jane-pro", plan="pro", users=[(JANE, "owner")], payment_methods=methods, vanity_url="jane"
    )
    await world.imported(
        world.account, users=[(OWNER, "owner"), (ADMIN, "admin")], vanity_url="acme"
    )
    meeting = {"id": "m-1", "topic": "Weekly", "starts_at": "2027-12-03T10:00:00Z"}
    await world.import_users("jane-pro", [{"email": JANE, "role": "owner", "meetings": [meeting]}])
    async with reader.opened(JANE) as page:
        await page.get_by_text("Refund it to me").click()
        await press(page, REVIEW)
        await press(page, "Join ")
        await expect(page.locator("#live")).to_contain_text("Refund failed", timeout=30_000)
        await page.reload()
        await page.get_by_text("New join links").click()
        await on_page(page, "invitation", "refunding")
        await page.get_by_role("radio").check()
        for _ in range(2):
            async with page.expect_response("**/i/*"):
                pass
        await expect(page.locator("#news")).to_be_empty()
        await world.refunds.convert(await refund_of(world))
        news = page.locator("#news")
        await expect(news).to_contain_text("This invitation has changed.", timeout=30_000)
        await expect(page.get_by_role("radio")).to_be_checked()
        await page.get_by_role("link", name="Show it").click()
        await expect(page.locator("#live")).to_contain_text("because the refund failed")


async def test_a_page_at_twice_the_size_needs_no_sideways_scrolling(reader: Reader) -> None:
    """WCAG 1.4.4, 1.4.10: 200 % zoom, and text of twice the size."""
    await a_paying_owner(reader.world)
    async with reader.opened(JANE, reduced_motion="reduce") as page:
        await page.evaluate("document.documentElement.style.fontSize = '32px'")
        await require_accessible(page)
    async with reader.opened(JANE, viewport={"width": 410, "height": 450}) as page:
        await require_accessible(page)


async def test_an_admin_signs_in_and_out(reader: Reader) -> None:
    """By keyboard, at 360 px: the form, the link's page, the account, and out."""
    account = reader.world.account
    async with reader.at(f"/admin/{account}", viewport={"width": PHONE, "height": 740}) as page:
        await on_page(page, "sign-in", "open")
        await page.get_by_label("E-mail address").fill("ada at acme")
        await page.keyboard.press("Enter")
        await on_page(page, "sign-in", "open")
        await expect(page.locator("main")).to_have_attribute("data-error", "invalid_email")
        await page.get_by_label("E-mail address").fill(ADMIN)
        await page.keyboard.press("Enter")
        await on_page(page, "sign-in", "sent")
        mail = await reader.world.mailed("sign_in", ADMIN)
        token = mail.text.partition("/sign-in/")[2].split()[0]
        await page.goto(f"{reader.address}/sign-in/{token}")
        await on_page(page, "sign-in", "link")
        await page.get_by_role("button", name="Sign in").focus()
        await page.keyboard.press("Enter")
        await on_page(page, "invitations")
        await expect(page).to_have_url(f"{reader.address}/admin/{account}")
        await page.locator(".menu summary").focus()
        await page.keyboard.press("Enter")
        await require_accessible(page)
        await press(page, "Sign out")
        await on_page(page, "sign-in", "open")
        await page.goto(f"{reader.address}/sign-in/{token}")
        await on_page(page, "sign-in", "used")


async def test_guides_on_a_phone_in_the_dark_and_on_paper(reader: Reader) -> None:
    """TXT-1: each guide in each language is accessible, and fits on two sheets of paper."""
    context = await reader.browser.new_context(viewport={"width": PHONE, "height": 740})
    page = await context.new_page()
    for guide in GUIDES:
        for language in LANGUAGES:
            await page.emulate_media(color_scheme="dark" if language == "de" else "light")
            await page.goto(f"{reader.address}/guide/{guide}?lang={language}")
            await on_page(page, "guide")
            # A4; a PDF names each of its pages.
            sheets = len(re.findall(rb"/Type\s*/Page\b", await page.pdf(format="A4")))
            assert 1 <= sheets <= 2, f"{guide} in {language}: {sheets} sheets"
    await page.emulate_media(media="print", color_scheme="dark")
    ink = await page.evaluate("getComputedStyle(document.body).color")
    paper = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (ink, paper) == ("rgb(0, 0, 0)", "rgb(255, 255, 255)")
    await context.close()
