"""Tests of the compute API."""
