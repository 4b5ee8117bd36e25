"""The settings: one frozen value, read once from the environment and an optional TOML file."""

from marketplace_worker.settings.fields import (
    Deadlines,
    Ingest,
    Kafka,
    Postgres,
    Relay,
    Retention,
    Settings,
    SslMode,
    Topics,
)
from marketplace_worker.settings.loading import (
    UNKEYED_EMAIL_KEY,
    load_email_key,
    load_policy_file,
    load_settings,
)

__all__ = [
    "UNKEYED_EMAIL_KEY",
    "Deadlines",
    "Ingest",
    "Kafka",
    "Postgres",
    "Relay",
    "Retention",
    "Settings",
    "SslMode",
    "Topics",
    "load_email_key",
    "load_policy_file",
    "load_settings",
]
