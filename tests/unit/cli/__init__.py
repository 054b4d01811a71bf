"""The command line's own decisions: settings, credentials, the launcher, progress, ranges of public networks."""
