"""The Computer Manager: observes and drives one host's hypervisors, disks and networks, and reports.

`agent.py` answers the messages of `model/messages.py` and nothing else; drivers live in `hypervisor`, `network`, `storage`.
A node never reads the database: it is told desired state and says what it sees.
What it must know after a restart lies in its own directory, beside the guests.
"""
