"""Hypervisor drivers: each brings guests of one kind to a desired state and says what runs.

`driver.py` is the contract; a driver is found by its entry point (group `pileus.hypervisors`) or is one of ours: `qemu`, `simulated`.
Called by the agent alone. A driver keeps its own state in the guest's directory, decides nothing about placement,
and never raises NotImplementedError: what it can't do is missing from its capabilities.
"""
