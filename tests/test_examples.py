"""The notebook is what its source says, and runs from top to bottom."""

import pytest

from examples.make_notebook import HERE, NOTEBOOK, SOURCE, make_notebook, split_cells


def test_cells_are_split_at_the_marks():
    source = "# %% [markdown]\n# # Title\n#\n# Text\n# %%\nx = 1\n\n# %%\ny = 2\n"
    assert split_cells(source) == [
        ("markdown", "# Title\n\nText"),
        ("code", "x = 1"),
        ("code", "y = 2"),
    ]


def test_the_notebook_is_made_from_the_script_and_holds_no_outputs():
    nbformat = pytest.importorskip("nbformat")
    committed = nbformat.reads(NOTEBOOK.read_text(encoding="utf-8"), as_version=4)
    made = make_notebook(SOURCE.read_text(encoding="utf-8"))
    assert made.cells == committed.cells, "run python -m examples.make_notebook"
    assert not any(cell.get("outputs") for cell in committed.cells)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # the kernel's own libraries warn
def test_the_notebook_runs_from_top_to_bottom():
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    pytest.importorskip("litert_converter")
    notebook = make_notebook(SOURCE.read_text(encoding="utf-8"))
    client = nbclient.NotebookClient(
        notebook, timeout=300, resources={"metadata": {"path": str(HERE)}}
    )
    client.execute()
    plots = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    assert len(plots) >= 4
