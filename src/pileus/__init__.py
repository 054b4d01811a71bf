"""A whole private cloud in one package: OpenStack's APIs over real hypervisors, networks and disks.

Layers, lowest first: model, core, store and bus, reconcile, api and node, cli. A layer imports only those below it.
"""

__version__ = "0.1.0"
