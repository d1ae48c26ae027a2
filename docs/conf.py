"""The site: `./run python -m sphinx -W -b html docs docs/_build`.

Before Sphinx reads the pages, five things are made: the picture of the architecture, and, in
docs/generated, the reference of the command line, the audio samples, the comparison of the embedded
voice with its teacher and the notebook as a page.
"""

import inspect
import re
import sys
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
sys.path[:0] = [str(ROOT), str(DOCS)]

import jaxtyping  # noqa: E402, F401  # with it, annotations show shapes
from compare_voices import comparison  # noqa: E402
from draw_architecture import draw  # noqa: E402
from list_commands import command_line  # noqa: E402
from make_samples import make_samples, players  # noqa: E402

from examples.make_notebook import SOURCE, split_cells  # noqa: E402
from pocket_tts_jax import __version__  # noqa: E402

project = "pocket-tts-jax"
author = "the authors of pocket-tts-jax"
copyright = "MIT licence"
release = version = __version__
html_title = f"pocket-tts-jax {__version__}"

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode", "sphinx_copybutton"]
exclude_patterns = ["_build", "**/*.inc"]
html_theme = "furo"
(Path(__file__).parent / "generated" / "static").mkdir(parents=True, exist_ok=True)
html_static_path = ["static", "generated/static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_show_copyright = False

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

default_role = "literal"  # docstrings are prose with `names` in single backticks
autodoc_inherit_docstrings = False  # Flax's are in another markup
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
python_maximum_signature_line_length = 80
python_use_unqualified_type_names = True
add_module_names = False


def make_pages(app: Sphinx) -> None:
    make_samples(GENERATED / "static" / "samples")
    _write(DOCS / "architecture.svg", draw())
    _write(GENERATED / "command-line.inc", command_line())
    _write(GENERATED / "samples.inc", players())
    _write(GENERATED / "compared.inc", comparison())
    _write(GENERATED / "tour.inc", notebook())


def notebook() -> str:
    """The cells of the notebook as Markdown, without the title."""
    cells = split_cells(SOURCE.read_text(encoding="utf-8"))
    (_, first), *others = cells
    pages = [first.partition("\n")[2]]
    pages += [t if kind == "markdown" else f"```python\n{t}\n```" for kind, t in others]
    return "\n\n".join(pages)


def _write(path: Path, text: str) -> None:
    """Leave a file with the same text alone: Sphinx builds again what is newer."""
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def docstring_to_rst(
    app: Sphinx, what: str, path: str, obj: object, options: object, lines: list[str]
) -> None:
    """Parameters that a docstring explains as `name: what it is` become a list of fields, and
    indented blocks become code."""
    parameters = _parameters(obj)
    name = f"(?:{'|'.join(parameters)})"
    start = re.compile(rf"(?:^\s*|(?<=[.;)])\s+)({name}(?:,\s+{name})*): ", re.MULTILINE)
    found = []
    for block in re.split(r"\n\s*\n", "\n".join(lines).strip("\n")):
        if block.startswith("    "):
            found += ["::", block]
        elif parameters and start.search(block):
            found.append(_fields(_escape(block.removeprefix("Args:")), start))
        else:
            found.append(_escape(block))
    lines[:] = "\n\n".join(found).splitlines()


def _parameters(obj: Any) -> list[str]:
    try:
        return [re.escape(name) for name in inspect.signature(obj).parameters]
    except (TypeError, ValueError):
        return []


def _fields(block: str, start: re.Pattern[str]) -> str:
    before, *pairs = start.split(block)
    fields = [
        f":param {name}: {' '.join(text.split())}"
        for names, text in zip(pairs[::2], pairs[1::2], strict=True)
        for name in re.split(r",\s+", names)
    ]
    return f"{before.strip()}\n\n" + "\n".join(fields)


def _escape(text: str) -> str:
    """Stars and bars are no markup in our docstrings, outside backticks."""
    parts = re.split(r"(``.*?``|`[^`]*`)", text, flags=re.DOTALL)
    for i, part in enumerate(parts):
        if not part.startswith("`"):
            parts[i] = re.sub(r"([*|]|_(?=\W|$))", r"\\\1", part)
            if i and part[:1].isalnum():  # a plural: `Name`s
                parts[i] = "\\ " + parts[i]
    return "".join(parts)


def setup(app: Sphinx) -> None:
    app.connect("builder-inited", make_pages)
    app.connect("autodoc-process-docstring", docstring_to_rst)
