"""How the site is built: `make docs`."""

import os
import re

import cnnfast

project = "cnnfast"
author = copyright = "the cnnfast developers"
release = version = cnnfast.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "matplotlib.sphinxext.plot_directive",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build"]
default_role = "py:obj"  # `name` in a docstring is a link where there is such an object, and code everywhere
myst_heading_anchors = 3

html_theme = "furo"
html_title = "cnnfast"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_show_sourcelink = False

autodoc_member_order = "bysource"
autodoc_typehints = "none"  # the docstrings say the types, shapes included
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True

plot_basedir = os.path.dirname(__file__)
plot_formats = [("png", 110)]
plot_html_show_formats = False
plot_html_show_source_link = False

sphinx_gallery_conf = {
    "examples_dirs": "../examples/curso",
    "gallery_dirs": "curso",
    "filename_pattern": r"/\d\d_",
    "within_subsection_order": "FileNameSortKey",
    "abort_on_example_error": True,
    "download_all_examples": False,
    "min_reported_time": 1000,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}


def without_unknown(app, what, name, obj, options, signature, return_annotation):
    """`**unknown` is there to name a wrong argument: nothing that a caller writes."""
    return re.sub(r", \*\*unknown(?=[,)])", "", signature or "") or None, return_annotation


def inside(app, docname, source):
    """What links out of docs/ on GitHub has a page of its own here."""
    source[0] = source[0].replace("](../CONTRIBUTING.md)", "](contributing.md)")


def setup(app):
    app.connect("source-read", inside)
    app.connect("autodoc-process-signature", without_unknown)
