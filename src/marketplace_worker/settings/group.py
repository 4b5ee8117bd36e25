"""The base class of groups of settings."""

from pydantic import BaseModel, ConfigDict


class SettingsGroup(BaseModel):
    """A frozen model that refuses unknown names and never shows values, which may be secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
