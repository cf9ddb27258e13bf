"""The documentation as a site: `make docs` builds it with warnings as errors."""

import sys
from importlib import metadata
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
import pages  # noqa: E402

project = "ffbench"
release = metadata.version("ffbench")
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["generated/readme.md"]
html_extra_path = ["generated/extra"]  # the reports of the gallery
html_theme = "furo"
html_title = "ffbench"
default_role = "code"  # one backtick in a docstring is code
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]
suppress_warnings = ["myst.xref_missing"]  # links to folders of the repository

pages.write()


def plain_bars(app, what, name, obj, options, lines):
    """|x| in a docstring is an absolute value, no substitution."""
    code = (">>>", "...")
    lines[:] = [line if line.lstrip().startswith(code) else line.replace("|", "\\|") for line in lines]


def setup(app):
    app.connect("autodoc-process-docstring", plain_bars, priority=900)  # after the sections were read
