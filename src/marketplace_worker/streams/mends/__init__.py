"""What mends aiokafka."""
