"""Tests of simulated clouds that go wrong."""
