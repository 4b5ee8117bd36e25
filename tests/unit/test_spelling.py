"""A marketplace's id that is a UUID is one id in every spelling (marketplaces.md section 1)."""

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stories import HASH, check_story
from story_language import DAY_0

from marketplace_worker.contract.feeds import Feed
from marketplace_worker.documents import subscription_from_json, subscription_to_json
from marketplace_worker.lifecycle.facts import Notified
from marketplace_worker.lifecycle.subscription import Link, Subscription
from marketplace_worker.lifecycle.vocabulary import (
    Identity,
    Marketplace,
    OrganizationId,
    SubscriptionKey,
    marketplace_id,
)
from marketplace_worker.record import Record
from marketplace_worker.translate import translate

LOWER = "11111111-aaaa-4bbb-8ccc-222233334444"


@pytest.mark.parametrize("spelling", [LOWER.upper(), "{" + LOWER + "}", LOWER.title(), LOWER])
def test_every_spelling_of_a_uuid_is_the_same_id(spelling: str) -> None:
    """RFC 9562, section 4: written in lower case, read in either; SQL Server writes braces too."""
    assert marketplace_id(spelling) == LOWER


@pytest.mark.parametrize(
    "spelling",
    [
        "agmt-ABC",
        "PRODUCT/CUSTOMER",
        "l-ABC",
        LOWER.upper() + "/CUSTOMER",
        "{" + LOWER.upper(),
        LOWER.upper() + "}",
        LOWER.upper() + "\n",
        LOWER.upper().replace("-", ""),
        "\N{FULLWIDTH DIGIT ONE}" + LOWER[1:].upper(),
        "",
    ],
)
def test_any_other_id_stays_as_it_came(spelling: str) -> None:
    """AWS's agreements and customers are compared to the letter."""
    assert marketplace_id(spelling) == spelling


@given(st.uuids(), st.booleans())
def test_a_spelling_is_compared_in_one_form_only(uuid: object, braces: bool) -> None:
    """What is in that form already stays so."""
    spelling = f"{{{uuid}}}".upper() if braces else str(uuid).upper()
    assert marketplace_id(marketplace_id(spelling)) == marketplace_id(spelling) == str(uuid)


def test_a_register_that_was_written_under_another_spelling_is_read_under_the_one() -> None:
    """So are the facts of an old journal."""
    text = subscription_to_json(Subscription(SubscriptionKey(Marketplace.AZURE, LOWER)))
    assert LOWER in text
    assert subscription_from_json(text.replace(LOWER, LOWER.upper())).key.subscription_id == LOWER


def test_a_billing_account_is_an_id_of_the_marketplace_too() -> None:
    """Whoever reports it, the notification or the sign-up."""
    link = Link(DAY_0, "l", OrganizationId("acme"), billing_account=LOWER.upper())
    register = Subscription(SubscriptionKey(Marketplace.GCP, "ent-1")).with_link(link)
    assert register.billing_account == LOWER


@pytest.mark.parametrize(
    ("link", "news"), [(LOWER.upper(), LOWER), (LOWER, LOWER.upper())], ids=["link", "news"]
)
def test_news_and_link_meet_whichever_is_in_capitals(link: str, news: str) -> None:
    """Else the end of a plan concerned nobody."""
    check_story(
        f"""
        day | input                    | events
        0   | acme created             |
        0   | acme links azure:{link} payg |
        9   | azure:{news} Suspend     | canceled non_payment by marketplace, payg
        10  | azure:{link} Reinstate   | reinstatement_pending: azure:{LOWER} by support
        """,
        until="10",
    )


def test_two_spellings_of_one_webhook_are_one_message() -> None:
    """A router that retries may write the ids in the other case, that of the operation too."""

    def identities(spell: Callable[[str], str]) -> list[Identity]:
        body = {
            "id": spell("9c0a3b0e-0000-4000-8000-00000000000a"),
            "subscriptionId": spell(LOWER),
            "action": "Suspend",
            "timeStamp": "2026-01-01T00:00:00Z",
        }
        record = Record("azure", 0, 0, DAY_0, None, json.dumps(body).encode())
        read_facts = translate(record, Feed.AZURE, HASH)
        return [each.identity for each in read_facts if isinstance(each, Notified)]

    assert identities(str.upper) == identities(str.lower)
    assert len(identities(str.lower)) == 1
