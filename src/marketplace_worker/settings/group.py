"""What every group of settings is."""

from pydantic import BaseModel, ConfigDict


class SettingsGroup(BaseModel):
    """Frozen, without unknown names, and silent about its values, which may be secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
