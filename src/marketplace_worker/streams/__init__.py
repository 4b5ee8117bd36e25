"""Kafka in and out; the only importer of FastStream and aiokafka."""
