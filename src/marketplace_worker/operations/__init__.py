"""What operators see of a worker."""
