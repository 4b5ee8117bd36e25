"""The worker as operators see it: logs, health, metrics, shutdown."""
