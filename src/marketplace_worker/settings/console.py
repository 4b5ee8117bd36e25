"""Settings of the console."""

from ipaddress import ip_address
from typing import Literal, Self

from pydantic import Field, FilePath, IPvAnyAddress, SecretStr, model_validator

from marketplace_worker.settings.group import SettingsGroup
from marketplace_worker.settings.postgres import Postgres

TOKEN_LENGTH_MIN = 16

_OPENID = ("openid_issuer", "openid_client_id", "openid_client_secret", "openid_allowed")


class Console(SettingsGroup):
    """Where the console listens, and who may look."""

    address: IPvAnyAddress = Field(
        ip_address("127.0.0.1"),
        description="IP address to listen on; another than loopback needs a sign-in and `url`.",
    )
    port: int = Field(8600, ge=1, le=65_535, description="Port to listen on.")
    url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/?#]+/?$",
        description="Address in the browser, `https://` unless it is loopback.",
    )
    token: SecretStr | None = Field(
        None, min_length=TOKEN_LENGTH_MIN, description="Token that everybody signs in with."
    )
    openid_issuer: str | None = Field(
        None,
        pattern=r"^https?://[^\s?#]+$",
        description="Issuer of OpenID Connect, whose users sign in.",
    )
    openid_client_id: str | None = Field(
        None, min_length=1, description="Client id of the console at the issuer."
    )
    openid_client_secret: SecretStr | None = Field(
        None, min_length=1, description="Client secret of the console at the issuer."
    )
    openid_allowed: str | None = Field(
        None,
        pattern=r"^\S+$",
        description="Who may sign in: `ann@example.com`, `@example.com` (verified addresses) or "
        "`role:NAME` (in the claim `roles` or `groups`), separated by commas.",
    )

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can connect."""
        return ip_address(str(self.address)).is_loopback

    @property
    def address_in_browser(self) -> str:
        """`url`, or the address that is listened on; without a slash at the end."""
        if self.url is not None:
            return self.url.removesuffix("/")
        host = f"[{self.address}]" if ip_address(str(self.address)).version == 6 else self.address
        return f"http://{host}:{self.port}"

    @model_validator(mode="after")
    def _one_sign_in(self) -> Self:
        given = [name for name in _OPENID if getattr(self, name) is not None]
        if given and len(given) < len(_OPENID):
            missing = ", ".join(name for name in _OPENID if name not in given)
            raise ValueError(f"OpenID Connect also needs {missing}")
        if given and self.token is not None:
            raise ValueError("set either token or the settings openid_…")
        if self.on_loopback:
            return self
        if not given and self.token is None:
            raise ValueError(
                f"on {self.address}, others can connect: set token_file, or the settings openid_…"
            )
        if self.url is None or not self.url.startswith("https://"):
            raise ValueError(
                "others than this machine can connect only through a proxy with TLS: set url to "
                "its https:// address"
            )
        return self


class InspectionSettings(SettingsGroup):
    """The settings of commands that look: those of the database alone."""

    postgres: Postgres
    policy_file: FilePath | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"


class ConsoleSettings(InspectionSettings):
    """The settings that the console needs."""

    console: Console = Console()
