"""Tests of the guest image's build."""
