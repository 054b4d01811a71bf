"""The command line: click commands, the assembly of the roles into processes, and what `up` prepares.

`main.py` finds the commands; one file a command. A command parses, asks the API or the state directory, and prints; what it
decides with lives in `core`. `serve.py` alone puts store, bus, engine, API and agents together.
`--json` gives every command's answer to programs. The launcher reads the table below, before there is anything but Python's library.
"""

COMMANDS = {
    "up": "Start a cloud on this machine: everything from packages to a first server.",
    "down": "Stop the control plane; with --destroy remove servers, devices and state.",
    "status": "Show roles, hosts, servers, addresses, versions.",
    "openstack": "The official client with this cloud's credentials.",
    "why": "Explain where a server was placed, or why it could not be.",
    "verify": "Compare records, hypervisor, network devices and disks.",
    "doctor": "Try what this machine can do, and say what is missing.",
    "host": "List, admit, drain, enable, fence and remove hosts.",
    "provider": "How users from elsewhere log in: their providers of OpenID Connect.",
    "bus": "The message bus's configuration and certificate.",
    "db": "Look at the database, copy it, go back to a copy.",
    "migration": "Moves of servers between hosts: list, watch, forecast.",
    "image": "Bring in images from elsewhere; the small guest image; certificates.",
    "serve": "Run the control plane in the foreground, nothing else.",
    "simulate": "Live a month of a cloud in minutes, with faults: a test of pileus itself.",
    "bench": "Measure this cloud.",
    "test": "Run the tests: unit, store, api, driver, real, faults, conformance or all.",
}
