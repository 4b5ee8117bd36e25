"""A database that commit c03285b left is migrated, and all is as it was but for what is mended."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from marketplace_worker.inspection.replaying import Verification, verify
from marketplace_worker.inspection.sight import Inspector
from marketplace_worker.lifecycle.policy import Policy
from marketplace_worker.settings import Postgres
from marketplace_worker.store.database import Pool, connecting
from marketplace_worker.store.migrations import migrate
from marketplace_worker.store.policies import PolicyBook
from store.fixtures import ENDED_AT, load_c03285b


@pytest.fixture
async def migrated(owner: Pool, postgres_dsn: str) -> AsyncIterator[Pool]:
    """The worker's connections to that database, with the schema of today."""
    await load_c03285b(owner)
    await migrate(owner)
    async with connecting(Postgres(dsn=SecretStr(postgres_dsn))) as pool:
        yield pool


@pytest.fixture
def inspector(migrated: Pool) -> Inspector:
    """Who asks, at the moment at which the database was left."""
    return Inspector(migrated, PolicyBook(Policy()), ENDED_AT)


async def verified(inspector: Inspector) -> list[Verification]:
    """What `replay --verify` finds."""
    return [page async for page in verify(inspector)]


async def test_folding_the_journal_again_gives_what_is_stored(inspector: Inspector) -> None:
    """Invariant 8, over the update too."""
    found = await verified(inspector)

    assert [each for page in found for each in page.differences] == []
    assert sum(page.organizations for page in found) > 40
