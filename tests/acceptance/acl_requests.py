"""Reads, adds and removes Kafka's ACLs, in the wire format (DescribeAcls, CreateAcls, DeleteAcls
1), which aiokafka does not have.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import Array, Int8, Int16, Int32, Schema, String

from acls import Acl

ANY, ALLOW, LITERAL = 1, 3, 3
RESOURCES = {"topic": 2, "group": 3}
OPERATIONS = {"Read": 3, "Write": 4, "Create": 5, "Describe": 8}

_TEXT = String("utf-8")
_ENTRY = (("principal", _TEXT), ("host", _TEXT), ("operation", Int8), ("permission", Int8))
_PATTERN = (("resource", Int8), ("name", _TEXT), ("pattern", Int8))
_REFUSAL = (("error_code", Int16), ("error_message", _TEXT))


class _Described(Response):  # type: ignore[misc]  # aiokafka has no types
    API_KEY, API_VERSION = 29, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        *_REFUSAL,
        ("resources", Array(*_PATTERN, ("acls", Array(*_ENTRY)))),
    )


class _Describe(RequestStruct):  # type: ignore[misc]  # likewise
    API_KEY, API_VERSION, RESPONSE_TYPE = 29, 1, _Described
    SCHEMA = Schema(*_PATTERN, *_ENTRY)


class _Created(Response):  # type: ignore[misc]  # likewise
    API_KEY, API_VERSION = 30, 1
    SCHEMA = Schema(("throttle_time_ms", Int32), ("results", Array(*_REFUSAL)))


class _Create(RequestStruct):  # type: ignore[misc]  # likewise
    API_KEY, API_VERSION, RESPONSE_TYPE = 30, 1, _Created
    SCHEMA = Schema(("creations", Array(*_PATTERN, *_ENTRY)))


class _Deleted(Response):  # type: ignore[misc]  # likewise
    API_KEY, API_VERSION = 31, 1
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        ("results", Array(*_REFUSAL, ("matching", Array(*_REFUSAL, *_PATTERN, *_ENTRY)))),
    )


class _Delete(RequestStruct):  # type: ignore[misc]  # likewise
    API_KEY, API_VERSION, RESPONSE_TYPE = 31, 1, _Deleted
    SCHEMA = Schema(("filters", Array(*_PATTERN, *_ENTRY)))


class _DescribeRequest(Request[_Describe]):  # type: ignore[misc]  # likewise
    API_KEY = 29

    def build(self, struct: type[_Describe]) -> _Describe:
        return struct(ANY, None, ANY, None, None, ANY, ANY)


class _CreateRequest(Request[_Create]):  # type: ignore[misc]  # likewise
    API_KEY = 30

    def __init__(self, acls: Sequence[Acl]) -> None:
        self._acls = acls

    def build(self, struct: type[_Create]) -> _Create:
        return struct([_row(acl) for acl in self._acls])


class _DeleteRequest(Request[_Delete]):  # type: ignore[misc]  # likewise
    API_KEY = 31

    def __init__(self, acls: Sequence[Acl]) -> None:
        self._acls = acls

    def build(self, struct: type[_Delete]) -> _Delete:
        return struct([_row(acl) for acl in self._acls])


def _row(acl: Acl) -> tuple[int | str, ...]:
    resource = (RESOURCES[acl.resource], acl.name, LITERAL)
    return (*resource, f"User:{acl.user}", "*", OPERATIONS[acl.operation], ALLOW)


class Acls:
    """A broker's ACLs, as its administrator sees them."""

    def __init__(self, admin: AIOKafkaAdminClient) -> None:
        self._admin = admin

    async def all(self) -> set[Acl]:
        """All ACLs that are in force."""
        answer = await self._ask(_DescribeRequest())
        assert answer["error_code"] == 0, answer
        kinds = {number: name for name, number in RESOURCES.items()}
        operations = {number: name for name, number in OPERATIONS.items()}
        return {
            Acl(
                entry["principal"].removeprefix("User:"),
                operations[entry["operation"]],
                kinds[resource["resource"]],
                resource["name"],
            )
            for resource in answer["resources"]
            for entry in resource["acls"]
            if (entry["host"], entry["permission"], resource["pattern"]) == ("*", ALLOW, LITERAL)
        }

    async def add(self, *acls: Acl) -> None:
        """Add ACLs; they take effect a moment later."""
        answer = await self._ask(_CreateRequest(acls))
        assert {result["error_code"] for result in answer["results"]} == {0}, answer

    async def revoke(self, *acls: Acl) -> None:
        """Remove ACLs; this takes effect a moment later."""
        answer = await self._ask(_DeleteRequest(acls))
        assert all(len(result["matching"]) == 1 for result in answer["results"]), answer

    async def _ask(self, request: Request[Any]) -> dict[str, Any]:
        client = self._admin._client
        response = await client.send(client.get_random_node(), request)
        answer: dict[str, Any] = response.to_object()
        return answer


@asynccontextmanager
async def acls_of_broker(bootstrap: str) -> AsyncIterator[Acls]:
    """The ACLs of a broker, through a client with all rights."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        yield Acls(admin)
    finally:
        await admin.close()
