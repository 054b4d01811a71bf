"""Our answers, held against the schemas of the released reference, which is installed in an environment of its own."""
