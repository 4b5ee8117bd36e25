"""Settings: one immutable value, read once from the environment and an optional TOML file."""

from marketplace_worker.settings.console import Console, ConsoleSettings, InspectionSettings
from marketplace_worker.settings.fields import (
    DELIMITER,
    PREFIX,
    Deadlines,
    Ingest,
    KafkaSettings,
    Relay,
    Retention,
    Settings,
    Topics,
)
from marketplace_worker.settings.kafka import Kafka
from marketplace_worker.settings.loading import (
    UNKEYED_EMAIL_KEY,
    load_console_settings,
    load_email_key,
    load_inspection_settings,
    load_kafka_settings,
    load_policy_file,
    load_settings,
    require_email_key,
)
from marketplace_worker.settings.postgres import Postgres, SslMode
from marketplace_worker.settings.secret_file import SecretFile

__all__ = [
    "DELIMITER",
    "PREFIX",
    "UNKEYED_EMAIL_KEY",
    "Console",
    "ConsoleSettings",
    "Deadlines",
    "Ingest",
    "InspectionSettings",
    "Kafka",
    "KafkaSettings",
    "Postgres",
    "Relay",
    "Retention",
    "SecretFile",
    "Settings",
    "SslMode",
    "Topics",
    "load_console_settings",
    "load_email_key",
    "load_inspection_settings",
    "load_kafka_settings",
    "load_policy_file",
    "load_settings",
    "require_email_key",
]
