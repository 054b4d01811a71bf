"""Sphinx's settings: MyST pages, and the reference generated from docstrings."""

project = "pileus"
extensions = ["myst_parser", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence"]
exclude_patterns = ["_build", "news"]
html_theme = "alabaster"
suppress_warnings = ["myst.header"]
