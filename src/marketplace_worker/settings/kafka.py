"""Settings of the connection to Kafka."""

from typing import Literal, Self

from pydantic import Field, FilePath, SecretStr, model_validator

from marketplace_worker.settings.group import SettingsGroup

_PASSWORD = (("sasl_username", "sasl_password"), ())
_NEEDED = {
    "OAUTHBEARER": (
        ("oauth_token_url", "oauth_client_id", "oauth_client_secret"),
        ("oauth_scope", "oauth_extensions"),
    ),
    "AWS_MSK_IAM": (("aws_region",), ()),
}
"""By mechanism: required and optional settings."""

_LOGIN = [name for lists in (_PASSWORD, *_NEEDED.values()) for names in lists for name in names]


class Kafka(SettingsGroup):
    """How to connect to Kafka, and how a consumer group detects that a worker died."""

    bootstrap_servers: str = Field(
        pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$",
        description="Bootstrap brokers: `host:port`, separated by commas.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Whether connections use TLS (SSL) and authentication (SASL)."
    )
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None
    ) = Field(None, description="SASL mechanism; required with SASL, otherwise refused.")
    sasl_username: str | None = Field(
        None, min_length=1, description="User name for PLAIN and SCRAM."
    )
    sasl_password: SecretStr | None = Field(
        None, min_length=1, description="Password for PLAIN and SCRAM."
    )
    oauth_token_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="Token endpoint for OAUTHBEARER (client credentials grant).",
    )
    oauth_client_id: str | None = Field(
        None, min_length=1, description="Client id for OAUTHBEARER."
    )
    oauth_client_secret: SecretStr | None = Field(
        None, min_length=1, description="Client secret for OAUTHBEARER."
    )
    oauth_scope: str | None = Field(
        None, min_length=1, description="Scopes of the token, separated by spaces."
    )
    oauth_extensions: str | None = Field(
        None,
        pattern=r"^[A-Za-z]+=[^,\x00-\x1f]*(,[A-Za-z]+=[^,\x00-\x1f]*)*$",
        description="SASL extensions: `name=value`, separated by commas.",
    )
    aws_region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        description="AWS region of the cluster, for AWS_MSK_IAM.",
    )
    ssl_ca_file: FilePath | None = Field(
        None, description="PEM file of trusted CAs; the system's by default."
    )
    ssl_cert_file: FilePath | None = Field(
        None, description="PEM file of the client certificate, if the broker requires one."
    )
    ssl_key_file: FilePath | None = Field(
        None, description="PEM file of the client key, not encrypted."
    )
    client_id: str = Field(
        "marketplace-worker",
        min_length=1,
        max_length=200,
        description="Client id in the broker's logs and quotas.",
    )
    group_prefix: str = Field(
        "marketplace-worker",
        min_length=1,
        max_length=200,
        description="Prefix of the consumer groups `….facts` and `….activity`.",
    )
    session_timeout_ms: int = Field(
        45_000,
        ge=1_000,
        le=300_000,
        description="Silence after which a worker loses its partitions.",
    )
    rebalance_timeout_ms: int = Field(
        30_000,
        ge=1_000,
        le=300_000,
        description="How long a rebalance waits for a worker's batch.",
    )
    request_timeout_ms: int = Field(
        40_000,
        ge=2_000,
        le=100_000,
        description="Timeout of a request; above the rebalance timeout.",
    )

    @property
    def facts_group(self) -> str:
        """The consumer group of the topics that become facts."""
        return f"{self.group_prefix}.facts"

    @property
    def activity_group(self) -> str:
        """The consumer group of logins and API usage."""
        return f"{self.group_prefix}.activity"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        self._check_login()
        files = (self.ssl_ca_file, self.ssl_cert_file, self.ssl_key_file)
        if not self.security_protocol.endswith("SSL") and any(files):
            raise ValueError("ssl_*_file requires security_protocol SSL or SASL_SSL")
        if (self.ssl_cert_file is None) is not (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file must be set together")
        if self.rebalance_timeout_ms >= self.request_timeout_ms:
            # aiokafka joins a group with the plain request timeout.
            raise ValueError("rebalance_timeout_ms must be below request_timeout_ms")
        return self

    def _check_login(self) -> None:
        """Each mechanism has its required settings, and none of another mechanism."""
        if not self.security_protocol.startswith("SASL"):
            given = [
                name for name in ("sasl_mechanism", *_LOGIN) if getattr(self, name) is not None
            ]
            if given:
                raise ValueError(f"{given[0]} is given, but security_protocol is not SASL_…")
            return
        if self.sasl_mechanism is None:
            raise ValueError(f"security_protocol {self.security_protocol} needs sasl_mechanism")
        needed, possible = _NEEDED.get(self.sasl_mechanism, _PASSWORD)
        missing = [name for name in needed if getattr(self, name) is None]
        if missing:
            raise ValueError(f"sasl_mechanism {self.sasl_mechanism} needs {' and '.join(missing)}")
        for name in _LOGIN:
            if name not in (*needed, *possible) and getattr(self, name) is not None:
                raise ValueError(f"{name} is given, but sasl_mechanism is {self.sasl_mechanism}")
