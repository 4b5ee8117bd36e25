"""How to reach Kafka."""

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
"""By mechanism, the settings that it must have, and those that it may."""

_LOGIN = [name for lists in (_PASSWORD, *_NEEDED.values()) for names in lists for name in names]


class Kafka(SettingsGroup):
    """How to reach Kafka, and how a consumer group notices that a worker died."""

    bootstrap_servers: str = Field(
        pattern=r"^[^\s,]+:\d+(,[^\s,]+:\d+)*$",
        description="The brokers to ask first: `host:port`, several with commas between.",
    )
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="Whether connections are encrypted (SSL) and log in (SASL)."
    )
    sasl_mechanism: (
        Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", "OAUTHBEARER", "AWS_MSK_IAM"] | None
    ) = Field(None, description="How to log in; needed with SASL and refused without.")
    sasl_username: str | None = Field(
        None, min_length=1, description="The name to log in with, by PLAIN and SCRAM."
    )
    sasl_password: SecretStr | None = Field(
        None, min_length=1, description="The password to log in with, by PLAIN and SCRAM."
    )
    oauth_token_url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]+(/\S*)?$",
        description="Who gives out tokens for OAUTHBEARER, by client credentials.",
    )
    oauth_client_id: str | None = Field(
        None, min_length=1, description="The name by which tokens are asked for."
    )
    oauth_client_secret: SecretStr | None = Field(
        None, min_length=1, description="The password with which tokens are asked for."
    )
    oauth_scope: str | None = Field(
        None, min_length=1, description="What the tokens are asked for, several with blanks."
    )
    oauth_extensions: str | None = Field(
        None,
        pattern=r"^[A-Za-z]+=[^,\x00-\x1f]*(,[A-Za-z]+=[^,\x00-\x1f]*)*$",
        description="What goes to Kafka beside the token: `name=value`, several with commas.",
    )
    aws_region: str | None = Field(
        None,
        pattern=r"^[a-z0-9-]+$",
        description="Where the cluster is, for AWS_MSK_IAM; who we are, AWS's own settings say.",
    )
    ssl_ca_file: FilePath | None = Field(
        None, description="PEM file of the authorities to trust; the system's where not given."
    )
    ssl_cert_file: FilePath | None = Field(
        None, description="PEM file of our own certificate, where the broker asks for one."
    )
    ssl_key_file: FilePath | None = Field(
        None, description="PEM file of the certificate's key, not encrypted."
    )
    client_id: str = Field(
        "marketplace-worker",
        min_length=1,
        max_length=200,
        description="The name by which the broker's logs and quotas know this worker.",
    )
    group_prefix: str = Field(
        "marketplace-worker",
        min_length=1,
        max_length=200,
        description="The consumer groups are this and `.facts`, this and `.activity`.",
    )
    session_timeout_ms: int = Field(
        45_000,
        ge=1_000,
        le=300_000,
        description="After how much silence the group takes a worker's partitions away.",
    )
    rebalance_timeout_ms: int = Field(
        30_000,
        ge=1_000,
        le=300_000,
        description="How long a rebalance waits for a worker to finish its batch.",
    )
    request_timeout_ms: int = Field(
        40_000,
        ge=2_000,
        le=100_000,
        description="How long one request may take; longer than a rebalance, which is one.",
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
            raise ValueError("ssl_*_file is given, but security_protocol is not …SSL")
        if (self.ssl_cert_file is None) is not (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file go together")
        if self.rebalance_timeout_ms >= self.request_timeout_ms:
            # aiokafka joins a group with the plain request timeout.
            raise ValueError("rebalance_timeout_ms must be below request_timeout_ms")
        return self

    def _check_login(self) -> None:
        """Each way to log in has what it needs, and nothing of another's."""
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
