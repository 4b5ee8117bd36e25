"""Tests of the steps, each one transaction on a real Postgres."""
