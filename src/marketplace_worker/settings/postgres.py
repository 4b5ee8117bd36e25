"""Settings of the connection to Postgres."""

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, FilePath, SecretStr, model_validator

from marketplace_worker.settings.group import SettingsGroup

SslMode = Literal["disable", "prefer", "require", "verify-ca", "verify-full"]


def _is_postgres(dsn: SecretStr) -> SecretStr:
    if not dsn.get_secret_value().startswith(("postgresql://", "postgres://")):
        raise ValueError("must begin with postgresql://")
    return dsn


class Postgres(SettingsGroup):
    """How to connect to Postgres."""

    dsn: Annotated[SecretStr, AfterValidator(_is_postgres)] = Field(
        description="`postgresql://user:password@host:port/database`; hosts separated by commas."
    )
    sslmode: SslMode | None = Field(
        None, description="TLS mode of connections; the DSN's by default."
    )
    ssl_root_cert_file: FilePath | None = Field(
        None, description="PEM file of trusted CAs, for verify-ca and verify-full."
    )

    ssl_cert_file: FilePath | None = Field(
        None, description="PEM file of the client certificate, if Postgres requires one."
    )
    ssl_key_file: FilePath | None = Field(
        None, description="PEM file of the client key, not encrypted."
    )

    @model_validator(mode="after")
    def _files_are_used(self) -> Self:
        if self.ssl_root_cert_file and self.sslmode not in {"verify-ca", "verify-full"}:
            raise ValueError("ssl_root_cert_file needs sslmode verify-ca or verify-full")
        if (self.ssl_cert_file is None) is not (self.ssl_key_file is None):
            raise ValueError("ssl_cert_file and ssl_key_file must be set together")
        if self.ssl_cert_file and self.sslmode in {None, "disable"}:
            raise ValueError("ssl_cert_file needs an sslmode that encrypts")
        return self

    pool_connections_max: int = Field(
        12, ge=8, le=200, description="Maximum number of connections of this worker."
    )
    statement_timeout_ms: int = Field(
        10_000,
        ge=100,
        le=120_000,
        description="Statement timeout, enforced by Postgres.",
    )
