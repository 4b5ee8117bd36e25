"""Every setting with its unit (in its name), its bounds and a description."""

from typing import Annotated, Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from marketplace_worker.settings.console import Console
from marketplace_worker.settings.group import SettingsGroup
from marketplace_worker.settings.kafka import Kafka
from marketplace_worker.settings.postgres import Postgres

PREFIX = "MARKETPLACE_WORKER_"
DELIMITER = "__"

EMAIL_KEY_LENGTH_MIN = 16


Topic = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]


class Topics(SettingsGroup):
    """Names of the topics; events.md section 1 defines their contents."""

    aws_notifications: Topic = Field(
        "marketplace.aws.notifications", description="Inbound: notifications of AWS Marketplace."
    )
    gcp_notifications: Topic = Field(
        "marketplace.gcp.notifications",
        description="Inbound: notifications of Google Cloud Marketplace.",
    )
    azure_notifications: Topic = Field(
        "marketplace.azure.notifications", description="Inbound: Azure's SaaS webhook calls."
    )
    logins: Topic = Field("identity.logins", description="Inbound: logins, as CloudEvents.")
    api_requests: Topic = Field(
        "usage.api-requests", description="Inbound: API usage, as CloudEvents."
    )
    organization_changes: Topic = Field(
        "organizations.changes", description="Inbound: changes of organizations made elsewhere."
    )
    support_requests: Topic = Field("support.requests", description="Inbound: Support's requests.")
    lifecycle: Topic = Field(
        "organizations.lifecycle", description="Outbound: the lifecycle events."
    )
    state: Topic = Field(
        "organizations.state", description="Outbound: each organization's snapshot; compacted."
    )
    dead_letters: Topic = Field(
        "marketplace-worker.dead-letters", description="Outbound: records that could not be read."
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
        """The topics of which only the last login and the last use are stored."""
        return (self.logins, self.api_requests)

    @property
    def outbound(self) -> tuple[str, ...]:
        """The topics that the worker writes."""
        return (self.lifecycle, self.state, self.dead_letters)

    def configured(self, name: str) -> str:
        """The configured name of the topic with this default name; any other name unchanged."""
        for field_name, field in type(self).model_fields.items():
            if field.default == name:
                return str(getattr(self, field_name))
        return name

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = (*self.facts, *self.activity, *self.outbound)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two topics have the same name: {', '.join(twice)}")
        return self


class Ingest(SettingsGroup):
    """How records are read and processed."""

    batch_rows_max: int = Field(
        1_000,
        ge=1,
        le=5_000,
        description="Maximum number of records per transaction; five times as many of activity.",
    )
    fetch_wait_ms: int = Field(
        100,
        ge=10,
        le=5_000,
        description="How long a broker may wait for records before it answers.",
    )
    fetch_bytes_max: int = Field(
        16 * 1024 * 1024,
        ge=1024 * 1024,
        le=256 * 1024 * 1024,
        description="Maximum size of a fetch from one broker; it bounds memory.",
    )
    record_bytes_max: int = Field(
        1024 * 1024,
        ge=1024,
        le=64 * 1024 * 1024,
        description="Larger values (decompressed) are not read and stay in Kafka.",
    )
    batch_bytes_max: int = Field(
        64 * 1024 * 1024,
        ge=1024 * 1024,
        le=1024 * 1024 * 1024,
        description="Larger record batches (decompressed) are read only up to here.",
    )
    retry_pause_min_ms: int = Field(
        100, ge=1, le=10_000, description="Pause before the first retry of a failed batch."
    )
    retry_pause_max_ms: int = Field(
        15_000, ge=10, le=300_000, description="Longest pause between retries of a failed batch."
    )
    refused_rows_max: int = Field(
        1_000,
        ge=1,
        le=1_000_000,
        description="Refused records in ten minutes at which a topic may be stopped.",
    )
    refused_share_max: float = Field(
        0.5,
        ge=0.01,
        le=1.0,
        description="Share of a topic's records that may be refused; 1 never stops it.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.retry_pause_min_ms > self.retry_pause_max_ms:
            raise ValueError("retry_pause_min_ms must be at most retry_pause_max_ms")
        if self.batch_bytes_max < self.record_bytes_max:
            raise ValueError("batch_bytes_max must be at least record_bytes_max")
        if self.refused_rows_max < self.batch_rows_max:
            raise ValueError(
                "refused_rows_max must be at least batch_rows_max, or the first batch after a "
                "resume stops the topic again"
            )
        return self


class Deadlines(SettingsGroup):
    """How due organizations are found."""

    poll_interval_ms: int = Field(
        1_000, ge=10, le=3_600_000, description="Polling interval while nothing is due."
    )
    batch_rows_max: int = Field(
        500, ge=1, le=5_000, description="Maximum number of organizations per transaction."
    )


class Relay(SettingsGroup):
    """How messages get from the outbox to Kafka."""

    poll_interval_ms: int = Field(
        100, ge=5, le=60_000, description="Polling interval while the outbox is empty."
    )
    batch_rows_max: int = Field(
        1_000,
        ge=1,
        le=10_000,
        description="Maximum number of messages sent before waiting for Kafka.",
    )
    linger_ms: int = Field(
        5, ge=0, le=1_000, description="How long the producer waits to fill a request."
    )
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] = Field(
        "gzip", description="Compression of outbound records; every client can read gzip."
    )
    acknowledge_timeout_ms: int = Field(
        15_000,
        ge=1_000,
        le=60_000,
        description="How long to wait for Kafka's acknowledgement of a message.",
    )


class Retention(SettingsGroup):
    """How long data is kept that decisions no longer need."""

    journal_days: int = Field(
        730,
        ge=30,
        le=36_500,
        description="Age at which journal rows are deleted; longer than Kafka's retention.",
    )
    dead_letters_days: int = Field(
        90,
        ge=1,
        le=36_500,
        description="Age at which dead letters are deleted, whatever their status.",
    )

    @model_validator(mode="after")
    def _redriven_while_known(self) -> Self:
        if self.dead_letters_days > self.journal_days:
            raise ValueError(
                "dead_letters_days must be at most journal_days, because a redrive needs the "
                "journal to recognize duplicates"
            )
        return self


class KafkaSettings(SettingsGroup):
    """The settings of commands that use Kafka alone."""

    kafka: Kafka
    topics: Topics = Topics()
    ingest: Ingest = Ingest()


class Settings(BaseSettings):
    """All settings.  Only `load_settings` reads the environment; the class itself reads nothing."""

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
    topics: Topics = Field(Topics(), description="Names of the topics.")
    ingest: Ingest = Field(Ingest(), description="How records are read and processed.")
    deadlines: Deadlines = Field(Deadlines(), description="How due organizations are found.")
    relay: Relay = Field(Relay(), description="How messages get from the outbox to Kafka.")
    retention: Retention = Field(Retention(), description="How long data is kept.")
    console: Console = Field(Console(), description="The console.")
    email_key: SecretStr = Field(
        min_length=EMAIL_KEY_LENGTH_MIN,
        description="Key of the email hashes; with another, locked addresses are not recognized.",
    )
    policy_file: FilePath | None = Field(
        None, description="TOML policy file; the built-in policy by default."
    )
    stop_timeout_ms: int = Field(
        7_000,
        ge=3_000,
        le=60_000,
        description="Time limit of a stop; batches in flight have 2 s less.",
    )
    http_port: int | None = Field(
        None,
        ge=1,
        le=65_535,
        description="Port of `/livez`, `/readyz` and `/metrics`; closed by default.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Minimum level of log lines."
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
        """Use only the arguments: `load_settings` merges the sources, so that it can name them.

        The signature is pydantic-settings' own.
        """
        return (init_settings,)

    @model_validator(mode="after")
    def _statements_end_before_a_rebalance(self) -> Self:
        if self.postgres.statement_timeout_ms >= self.kafka.rebalance_timeout_ms:
            raise ValueError(
                "postgres.statement_timeout_ms must be below kafka.rebalance_timeout_ms, "
                "or a slow batch can lose its partitions"
            )
        return self
