"""Configuration of the documentation site; `make docs` builds it into build/docs."""

import logging
import re
import tarfile
import tempfile
from importlib.metadata import version as installed_version
from pathlib import Path

from sphinx.application import Sphinx

from mednet_bench.reports.pages.build import build_report
from mednet_bench.reports.pages.site import build_site

project = "mednet-bench"
author = "the mednet-bench authors"
version = release = installed_version("mednet-bench")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
default_role = "literal"  # docstrings write `name`
smartquotes = False  # options begin with two hyphens

autoclass_content = "class"
python_maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_default_options = {"members": True}
napoleon_use_ivar = True
napoleon_attr_annotations = False  # the signature has them
nitpicky = True
# the site is built without network, so it cannot know the pages of other libraries
nitpick_ignore = [  # internal, but the type of an argument
    ("py:class", "mednet_bench.core.registry.Registry"),
    ("py:class", "mednet_bench.experiment.PlannedRun"),
]
nitpick_ignore_regex = [("py:.*", r"(?!mednet_bench).*")]

html_theme = "furo"
html_title = "mednet-bench"
html_copy_source = False
html_show_sphinx = html_show_copyright = False

ARRAY = r"~?numpy\.ndarray\[tuple\[~?typing\.Any, \.\.\.\], ~?numpy\.dtype\[([^\[\]]+)\]\]"


def keep_colons(app: Sphinx, kind: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Stop napoleon from taking the words before a colon, in the text of a field, for a type."""
    if kind in ("attribute", "property", "data"):
        lines.insert(0, "\\")  # escapes the end of its line, so it shows nothing


def shorten_types(
    app: Sphinx,
    kind: str,
    name: str,
    thing: object,
    options: object,
    signature: str | None,
    returns: str | None,
) -> tuple[str | None, str | None]:
    """Write arrays as `NDArray[dtype]`, and defaults that a field makes anew as `...`."""
    return signature and shorten(signature), returns and shorten(returns)


def shorten(text: str) -> str:
    return re.sub(ARRAY, r"~numpy.typing.NDArray[\1]", text).replace("<factory>", "...")


def build_results(app: Sphinx, error: Exception | None) -> None:
    """Write report and leaderboard of the carried results beside the pages."""
    if error or app.builder.name != "html":
        return
    logging.getLogger("mednet_bench").setLevel(logging.WARNING)  # no progress of reports
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(Path(app.srcdir, "results", "published.tar.xz")) as archive:
            archive.extractall(folder, filter="data")
        build_report([Path(folder, "published")], Path(app.outdir, "results", "report"))
        build_site([Path(folder, "published")], Path(app.outdir, "results", "site"))


def setup(app: Sphinx) -> None:
    app.connect("build-finished", build_results)
    app.connect("autodoc-process-signature", shorten_types)
    app.connect("autodoc-process-docstring", keep_colons, priority=400)  # ahead of napoleon
