"""Tests of the image service."""
