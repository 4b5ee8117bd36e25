"""Tests of Kafka in and out, against a real broker."""
