"""Tests of Neutron's API."""
