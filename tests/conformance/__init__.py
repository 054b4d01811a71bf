"""Judges from outside: the tests that OpenStack's released packages carry, run against our services.

They run in an environment of their own, where those packages are installed; nothing of pileus imports them. Not part of the test layers.
"""
