"""Measurements of this program on this machine: `./pileus bench NAME` runs bench/NAME.py.

`cloud.py` starts a cloud of simulated hosts, `load.py` asks it, `calibration.py` says how quick the machine is, `report.py` and `plot.py`
write what was found. They use the public API and the operating system's accounting, nothing inside the program, but where they say so.
"""
