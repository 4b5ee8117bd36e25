"""How hypothesis draws while faults are planted: always the same, and nothing is shrunk."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "quickly",
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("quickly")
