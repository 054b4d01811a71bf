"""The command line: click commands, the assembly of the roles into processes, and what `up` prepares.

`main.py` is the list of commands; one file a command. A command parses, asks the API or the state directory, and prints; what it
decides with lives in `core`. `serve.py` alone puts store, bus, engine, API and agents together.
`--json` gives every command's answer to programs.
"""
