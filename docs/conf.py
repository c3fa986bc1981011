"""Sphinx's settings: `make docs` builds the site from these pages and from the package, without a network."""

import os
import re
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent / "_ext"), str(Path(__file__).parents[1])]
os.environ["COLUMNS"] = "100"

import click
from sphinx.application import Sphinx

from vdae_bench import __version__

project = "vdae-bench"
author = "the vdae-bench authors"
copyright = "the vdae-bench authors, MIT licence"
release = version = __version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
    "sphinx_copybutton",
    "mathml",
    "outside_links",
    "tables",
    "verdicts_picture",
]
exclude_patterns = ["_build", "_ext", "_generated"]

html_theme = "furo"
html_title = f"vdae-bench {release}"
html_math_renderer = "mathml"
html_copy_source = False
smartquotes = False  # they make one dash of the two before an option, which a reader copies
html_static_path = ["_static"]
html_css_files = ["site.css"]

myst_enable_extensions = ["dollarmath", "deflist"]
myst_heading_anchors = 4
myst_links_external_new_tab = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Whole numbers whose limits the sentences of errors give.
autodoc_type_aliases = {"Count": "int", "Seed": "int", "SeedOrNone": "int | None", "Steps": "int"}
autodoc_default_options = {"members": True, "show-inheritance": True}
default_role = "code"  # docstrings have `names` in single backticks
napoleon_use_rtype = False
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def setup(app: Sphinx) -> None:
    """Let a star in the help of an option be a star, and a folder its name."""

    def escape(app: Sphinx, context: click.Context, lines: list[str]) -> None:
        lines[:] = [re.sub(r"PosixPath\('(.*?)'\)", r"\1", line).replace("*", r"\*") for line in lines]

    app.connect("sphinx-click-process-options", escape)
