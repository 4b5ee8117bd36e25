"""The fields: every setting with its unit (in its name), its bounds and one sentence."""

from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from marketplace_worker.settings.group import SettingsGroup
from marketplace_worker.settings.kafka import Kafka
from marketplace_worker.settings.postgres import Postgres

PREFIX = "MARKETPLACE_WORKER_"
DELIMITER = "__"

EMAIL_KEY_LENGTH_MIN = 16


Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class Topics(SettingsGroup):
    """The names of the topics; what is in them is in events.md section 1."""

    aws_notifications: Topic = Field(
        "marketplace.aws.notifications", description="In: AWS Marketplace's notifications."
    )
    gcp_notifications: Topic = Field(
        "marketplace.gcp.notifications", description="In: Google Cloud Marketplace's."
    )
    azure_notifications: Topic = Field(
        "marketplace.azure.notifications", description="In: Azure's SaaS webhook calls."
    )
    logins: Topic = Field("identity.logins", description="In: logins, as CloudEvents.")
    api_requests: Topic = Field("usage.api-requests", description="In: API usage.")
    organization_changes: Topic = Field(
        "organizations.changes", description="In: what the rest of the product tells of them."
    )
    support_requests: Topic = Field("support.requests", description="In: what Support asks for.")
    lifecycle: Topic = Field("organizations.lifecycle", description="Out: the lifecycle events.")
    state: Topic = Field(
        "organizations.state", description="Out: each organization's snapshot; log-compacted."
    )
    dead_letters: Topic = Field(
        "marketplace-worker.dead-letters", description="Out: what could not be read, as it came."
    )

    @property
    def facts(self) -> tuple[str, ...]:
        """The topics whose records become facts, one journal row each."""
        return (
            self.aws_notifications,
            self.gcp_notifications,
            self.azure_notifications,
            self.organization_changes,
            self.support_requests,
        )

    @property
    def activity(self) -> tuple[str, ...]:
        """The topics whose records are coalesced to the last login and the last use."""
        return (self.logins, self.api_requests)

    @property
    def outbound(self) -> tuple[str, ...]:
        """The topics that we write."""
        return (self.lifecycle, self.state, self.dead_letters)

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = (*self.facts, *self.activity, *self.outbound)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two topics have the same name: {', '.join(twice)}")
        return self


class Ingest(SettingsGroup):
    """How records are taken in."""

    batch_rows_max: int = Field(
        1_000, ge=1, le=5_000, description="How many records one transaction takes at most."
    )
    fetch_wait_ms: int = Field(
        100, ge=10, le=5_000, description="How long a broker may wait for something to send."
    )
    fetch_bytes_max: int = Field(
        16 * 1024 * 1024,
        ge=1024 * 1024,
        le=256 * 1024 * 1024,
        description="How much one broker sends at once; it bounds the worker's memory.",
    )
    record_bytes_max: int = Field(
        1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Larger values, decompressed, are not read; they stay in Kafka.",
    )
    batch_bytes_max: int = Field(
        64 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="Of a larger record batch, decompressed, what is behind this is not read.",
    )
    retry_pause_min_ms: int = Field(
        100, ge=1, le=10_000, description="The first pause after a batch failed."
    )
    retry_pause_max_ms: int = Field(
        15_000, ge=10, le=300_000, description="The longest pause after a batch failed again."
    )
    refused_rows_max: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="With more unreadable in ten minutes, and above the share, a topic is stopped.",
    )
    refused_share_max: float = Field(
        0.5,
        ge=0.01,
        le=1.0,
        description="The share of a topic's records that may be unreadable; 1: none is stopped.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.retry_pause_min_ms > self.retry_pause_max_ms:
            raise ValueError("retry_pause_min_ms must not be above retry_pause_max_ms")
        if self.batch_bytes_max < self.record_bytes_max:
            raise ValueError("batch_bytes_max must not be below record_bytes_max")
        if self.refused_rows_max < self.batch_rows_max:
            raise ValueError(
                "refused_rows_max must not be below batch_rows_max, or a topic that is let go on "
                "is stopped again by its first batch"
            )
        return self


class Deadlines(SettingsGroup):
    """How due organizations are found."""

    poll_interval_ms: int = Field(
        1_000, ge=10, le=3_600_000, description="How often to look while nothing is due."
    )
    batch_rows_max: int = Field(
        500, ge=1, le=5_000, description="How many organizations one transaction takes at most."
    )


class Relay(SettingsGroup):
    """How promised messages get from the outbox to Kafka."""

    poll_interval_ms: int = Field(
        100, ge=5, le=60_000, description="How often to look while the outbox is empty."
    )
    batch_rows_max: int = Field(
        1_000, ge=1, le=10_000, description="How many messages are sent before any is awaited."
    )
    linger_ms: int = Field(
        5, ge=0, le=1_000, description="How long the producer waits to fill a request."
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "gzip", description="How what we write is compressed; gzip is what every client can read."
    )
    acknowledge_timeout_ms: int = Field(
        15_000,
        ge=1_000,
        le=60_000,
        description="After how long a message that Kafka did not acknowledge counts as not sent.",
    )


class Retention(SettingsGroup):
    """How long is kept what no decision needs any more."""

    journal_days: int = Field(
        730,
        ge=30,
        le=36_500,
        description="After how long a row of the journal leaves; longer than Kafka keeps messages.",
    )
    dead_letters_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="After how long a dead letter leaves, whatever became of it.",
    )

    @model_validator(mode="after")
    def _redriven_while_known(self) -> Self:
        if self.dead_letters_days > self.journal_days:
            raise ValueError(
                "dead_letters_days must not be above journal_days: what was taken of a message "
                "before its dead letter is redriven is known by the journal"
            )
        return self


class Settings(BaseSettings):
    """Everything that can be set.  `load_settings` reads it; built directly, it reads nothing."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        env_prefix=PREFIX,
        env_nested_delimiter=DELIMITER,
        env_ignore_empty=True,
    )

    kafka: Kafka = Field(description="How to reach Kafka.")
    postgres: Postgres = Field(description="How to reach the database.")
    topics: Topics = Field(Topics(), description="The names of the topics.")
    ingest: Ingest = Field(Ingest(), description="How records are taken in.")
    deadlines: Deadlines = Field(Deadlines(), description="How due organizations are found.")
    relay: Relay = Field(Relay(), description="How promised messages get to Kafka.")
    retention: Retention = Field(Retention(), description="How long what is kept.")
    email_key: SecretStr = Field(
        min_length=EMAIL_KEY_LENGTH_MIN,
        description="The key of the email hashes; with another, locked addresses are forgotten.",
    )
    policy_file: FilePath | None = Field(
        None, description="TOML file of the policy; the default policy where not given."
    )
    stop_timeout_ms: int = Field(
        7_000,
        ge=3_000,
        le=60_000,
        description="By when a stop has ended all; 2 s less is the time for batches in flight.",
    )
    http_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Where `/livez`, `/readyz` and `/metrics` are answered; nowhere if not given.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least important lines that are logged."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - theirs
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - theirs
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - theirs
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - theirs
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The arguments only: `load_settings` merges the sources, so that it can name them.

        The signature is pydantic-settings' own.
        """
        return (init_settings,)

    @model_validator(mode="after")
    def _statements_end_before_a_rebalance(self) -> Self:
        if self.postgres.statement_timeout_ms >= self.kafka.rebalance_timeout_ms:
            raise ValueError(
                "postgres.statement_timeout_ms must be below kafka.rebalance_timeout_ms, "
                "or a slow batch loses its partitions"
            )
        return self
