"""Clouds whose hosts are simulated, and go wrong as a plan or a seed says.

`plan.py` is the file of `up --simulate N --faults FILE`, `dice.py` what is drawn, `bus.py`, `api.py` and `faults.py` make it happen in a
cloud of real time. Above them is a life: `loop.py` has time jump to the next timer, `life.py` lets customers and faults work on a cloud for
days of that time, `judge.py` demands at the end what they were told. `pileus simulate` runs one.

Called by `cli`, which puts the control plane together. Nothing here is imported by a cloud that is real.
"""
