"""How the site is built: `make docs`."""

import os
import re
import runpy
import sys

import cnnfast
from cnnfast import explain

sys.path.insert(0, os.path.dirname(__file__))
import links

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
    "capture_repr": (),
    "remove_config_comments": True,
    "min_reported_time": 1000,
    "show_memory": False,
    "show_signature": False,
    "write_computation_times": False,
}


def without_unknown(app, what, name, obj, options, signature, return_annotation):
    """`**unknown` is there to name a wrong argument: nothing that a caller writes."""
    return re.sub(r", \*\*unknown(?=[,)])", "", signature or "") or None, return_annotation


def without_aliases(app, what, name, obj, skip, options):
    """Of a named tuple's fields Python only says their number; its docstring says what they are."""
    return True if (getattr(obj, "__doc__", "") or "").startswith("Alias for field number") else None


SPANISH = {
    "Download Python source code": "Descarga el programa",
    "Download Jupyter notebook": "Descarga el cuaderno de Jupyter",
    "Download zipped": "Descarga las dos cosas",
    "Next": "Siguiente",
    "Previous": "Anterior",
    "Search": "Buscar",
    "On this page": "En esta página",
    "Made with ": "Hecho con ",
    "Back to top": "Volver arriba",
}


def inside(app, docname, source):
    """What links out of docs/ on GitHub has a page of its own here; the gallery speaks Spanish."""
    source[0] = source[0].replace("](../CONTRIBUTING.md)", "](contributing.md)")
    if docname.startswith("curso/"):
        for english in ("Download Python source code", "Download Jupyter notebook", "Download zipped"):
            source[0] = source[0].replace(english, SPANISH[english])


def in_spanish(app, pagename, templatename, context, doctree):
    """The course's pages say that they are Spanish, and what the theme writes on them is."""
    if pagename.startswith("curso/"):
        context["language"] = "es"
        context["gettext"] = lambda text: SPANISH.get(text, text)


def walks(app):
    """The pages that the front page offers: `cnnfast explain` of the front picture's network, one a language."""
    names = runpy.run_path(os.path.join(app.srcdir, "pictures", "front.py"))
    for lang, classes in {"en": ["something else", "a face"], "es": ["otra cosa", "una cara"]}.items():
        page = explain.explain(names["model"], names["faces"][2], lang=lang, class_names=classes)
        with open(os.path.join(app.outdir, f"walk-{lang}.html"), "w", encoding="utf-8") as file:
            file.write(page)


def finished(app, exception):
    if exception is None and app.builder.name == "html":
        walks(app)
        links.check(app)


def setup(app):
    app.connect("source-read", inside)
    app.connect("html-page-context", in_spanish)
    app.connect("autodoc-process-signature", without_unknown)
    app.connect("autodoc-skip-member", without_aliases)
    app.connect("build-finished", finished)
