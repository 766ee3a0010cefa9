"""Every notebook runs from its first cell to its last."""

import nbformat
import pytest
from conftest import CHECKOUT
from nbclient import NotebookClient

COMPILING = "vdpa_lab: compiling kernels"  # with a cold cache, once
NOTEBOOKS = sorted((CHECKOUT / "notebooks").rglob("*.ipynb"))


@pytest.mark.slow  # a kernel of its own each
@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_it_runs(path, tmp_path):
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}).execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert shown
    assert not [output for output in shown if output.output_type == "error"]
    said = [output.text for output in shown if output.get("name") == "stderr"]
    assert [text for text in said if not text.startswith(COMPILING)] == []


def test_every_notebook_but_the_first_ends_with_its_sources():
    for path in NOTEBOOKS[1:]:
        cells = nbformat.read(path, as_version=4).cells
        heads = [cell.source.splitlines()[0] for cell in cells if cell.cell_type == "markdown"]
        assert heads[-1] == "## Sources of this notebook", path.name
