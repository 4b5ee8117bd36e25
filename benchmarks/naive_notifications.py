"""The naive `notifications`: one subscriber for each marketplace; for each notification one
transaction, then three events, published one after the other.

It handles only the notifications of the benchmark and has no timelines: a subscription that ended
is canceled, one that is active again is reinstated.
"""

import base64
from datetime import datetime
from typing import Any

import asyncpg
from faststream import AckPolicy
from faststream.kafka import KafkaBroker, KafkaMessage
from pydantic import BaseModel, Field

from benchmarks import naive
from benchmarks.floor import Job, main

CANCELED = ("organization.canceled", "metering.final_report_due", "organization.state")
REINSTATED = ("organization.reinstated", "control_plane.access_restored", "organization.state")


class Agreement(BaseModel):
    """An agreement of AWS."""

    id: str
    status: str | None = None


class Detail(BaseModel):
    """The detail of an EventBridge event."""

    agreement: Agreement


class AwsNotification(BaseModel):
    """EventBridge's or SNS's."""

    id: str | None = None
    detail_type: str | None = Field(None, alias="detail-type")
    time: datetime | None = None
    detail: Detail | None = None
    message_id: str | None = Field(None, alias="MessageId")
    message: str | None = Field(None, alias="Message")
    timestamp: datetime | None = Field(None, alias="Timestamp")


class SnsBody(BaseModel):
    """The JSON text in SNS's envelope."""

    action: str
    customer: str = Field(alias="customer-identifier")
    product: str = Field(alias="product-code")


class PubSubMessage(BaseModel):
    """A Pub/Sub message of Google."""

    data: str


class GooglePush(BaseModel):
    """Pub/Sub's."""

    message: PubSubMessage


class Entitlement(BaseModel):
    """An entitlement of Google."""

    id: str
    updated_at: datetime = Field(alias="updateTime")


class GoogleNotification(BaseModel):
    """The data of Pub/Sub's message."""

    event_id: str = Field(alias="eventId")
    event_type: str = Field(alias="eventType")
    entitlement: Entitlement


class AzureNotification(BaseModel):
    """The webhook's."""

    id: str
    subscription_id: str = Field(alias="subscriptionId")
    action: str
    at: datetime = Field(alias="timeStamp")


class Notified(BaseModel):
    """A notification of any marketplace, translated."""

    id: str
    marketplace: str
    subscription_id: str
    at: datetime
    ended: bool


def of_aws(notification: AwsNotification) -> Notified:
    """Translate either of AWS's formats."""
    if (
        notification.detail is not None
        and notification.id is not None
        and notification.time is not None
    ):
        agreement = notification.detail.agreement
        ended = agreement.status is not None
        return Notified(
            id=notification.id,
            marketplace="aws",
            subscription_id=agreement.id,
            at=notification.time,
            ended=ended,
        )
    assert notification.message is not None
    assert notification.timestamp is not None
    body = SnsBody.model_validate_json(notification.message)
    return Notified(
        id=notification.message_id or "",
        marketplace="aws",
        subscription_id=f"{body.product}/{body.customer}",
        at=notification.timestamp,
        ended=body.action.startswith("unsubscribe"),
    )


def of_google(push: GooglePush) -> Notified:
    """Translate Google's envelope."""
    notification = GoogleNotification.model_validate_json(base64.b64decode(push.message.data))
    return Notified(
        id=notification.event_id,
        marketplace="gcp",
        subscription_id=notification.entitlement.id,
        at=notification.entitlement.updated_at,
        ended=notification.event_type in {"ENTITLEMENT_CANCELLED", "ENTITLEMENT_DELETED"},
    )


def of_azure(notification: AzureNotification) -> Notified:
    """Translate Azure's webhook call."""
    return Notified(
        id=notification.id,
        marketplace="azure",
        subscription_id=notification.subscription_id,
        at=notification.at,
        ended=notification.action in {"Suspend", "Unsubscribe"},
    )


async def process(
    pool: "asyncpg.Pool[asyncpg.Record]", broker: KafkaBroker, topic: str, notification: Notified
) -> None:
    """Process one notification: its transaction and its events."""
    async with pool.acquire() as connection, connection.transaction():
        plan = await connection.fetchrow(
            "SELECT organization_id, status FROM plans"
            " WHERE marketplace = $1 AND subscription_id = $2 FOR UPDATE",
            notification.marketplace,
            notification.subscription_id,
        )
        assert plan is not None
        organization = plan["organization_id"]
        before = await connection.fetchrow(
            "SELECT * FROM customers WHERE organization_id = $1 FOR UPDATE", organization
        )
        assert before is not None
        state = "canceled" if notification.ended else "active"
        await connection.execute(
            "UPDATE plans SET status = $3, updated_at = $4"
            " WHERE marketplace = $1 AND subscription_id = $2",
            notification.marketplace,
            notification.subscription_id,
            "ended" if notification.ended else "active",
            notification.at,
        )
        await connection.execute(
            "UPDATE customers SET state = $2, reason = $3, canceled_at = $4, due_at = $5,"
            " sequence = sequence + 3 WHERE organization_id = $1",
            organization,
            state,
            "customer" if notification.ended else "reinstated",
            notification.at if notification.ended else None,
            notification.at if notification.ended else None,
        )
        await connection.execute(
            "INSERT INTO history (message_id, organization_id, state_before, state, happened_at,"
            " body) VALUES ($1, $2, $3, $4, $5, $6::jsonb)",
            notification.id,
            organization,
            before["state"],
            state,
            notification.at,
            notification.model_dump_json(),
        )
    row = {
        **dict(before),
        "state": state,
        "previous_state": before["state"],
        "cause": notification.id,
    }
    kinds = CANCELED if notification.ended else REINSTATED
    for event in naive.events(kinds, organization, notification.at, row):
        await broker.publish(event, topic, key=organization.encode())


async def measure(job: Job) -> dict[str, Any]:
    """Process the job's number of notifications."""
    finish, broker = naive.Finish(job["count"]), naive.broker(job)
    aws, google, azure = job["topics"]
    arguments = {"ack_policy": AckPolicy.MANUAL, **naive.subscription(job)}
    async with naive.pooled(job) as pool:

        async def handle(notification: Notified, message: KafkaMessage) -> None:
            finish.clock.begin()
            await process(pool, broker, job["outbound"], notification)
            await message.ack()
            finish.step()

        @broker.subscriber(aws, **arguments)
        async def from_aws(notification: AwsNotification, message: KafkaMessage) -> None:
            await handle(of_aws(notification), message)

        @broker.subscriber(google, **arguments)
        async def from_google(notification: GooglePush, message: KafkaMessage) -> None:
            await handle(of_google(notification), message)

        @broker.subscriber(azure, **arguments)
        async def from_azure(notification: AzureNotification, message: KafkaMessage) -> None:
            await handle(of_azure(notification), message)

        async with broker:
            await broker.start()
            return await finish.reached()


if __name__ == "__main__":
    main(measure)
