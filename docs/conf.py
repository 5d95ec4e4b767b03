"""Sphinx's configuration: the handbook, with the API from the docstrings."""

import palingenesis

project = "palingenesis"
author = "The palingenesis developers"
release = version = palingenesis.__version__
extensions = ["sphinx.ext.autodoc"]
html_theme = "alabaster"
html_theme_options = {"description": "Brings coding agents' sessions back"}
html_show_copyright = False
exclude_patterns = ["_build"]
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_class_signature = "mixed"
# Docstrings name code with single backticks.
default_role = "code"
