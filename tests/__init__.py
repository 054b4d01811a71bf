"""Tests; the tree mirrors src/pileus, one layer of tests a folder."""
