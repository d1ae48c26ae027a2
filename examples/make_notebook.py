"""`tour.py` as a notebook: `python -m examples.make_notebook` writes `tour.ipynb` beside it.

The script is the source: it can be read, linted and compared. `# %%` starts a cell of code,
`# %% [markdown]` one of text. The notebook is written without outputs.
"""

from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
SOURCE, NOTEBOOK = HERE / "tour.py", HERE / "tour.ipynb"
MARK, TEXT_MARK = "# %%", "# %% [markdown]"


def split_cells(source: str) -> list[tuple[str, str]]:
    """(kind, text) of each cell, kind "markdown" or "code"."""
    cells: list[tuple[str, list[str]]] = []
    for line in source.splitlines():
        if line.startswith(MARK):
            cells.append(("markdown" if line == TEXT_MARK else "code", []))
        elif cells:
            cells[-1][1].append(line)
    return [(kind, _text(kind, lines)) for kind, lines in cells]


def _text(kind: str, lines: list[str]) -> str:
    if kind == "markdown":
        lines = [line.removeprefix("#").removeprefix(" ") for line in lines]
    return "\n".join(lines).strip()


def make_notebook(source: str) -> Any:
    """The notebook, with cell ids that depend on nothing but the place."""
    import nbformat.v4 as nb

    make = {"markdown": nb.new_markdown_cell, "code": nb.new_code_cell}
    cells = [make[kind](text, id=f"cell-{i}") for i, (kind, text) in enumerate(split_cells(source))]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return nb.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def main() -> None:
    import nbformat

    notebook = make_notebook(SOURCE.read_text(encoding="utf-8"))
    nbformat.validate(notebook)
    NOTEBOOK.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
