"""Bytes of strangers, given to everything that parses them.

`targets.py` names the parsers: a function of bytes each, which raises only when something is wrong, and samples to begin with.
The tests here mutate the samples for a moment. `python -m tests.unit.fuzz.coverage_guided TARGET SECONDS` lets atheris look for
new paths for as long as one likes (pip install atheris). What either finds becomes a sample.
"""
