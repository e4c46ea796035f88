"""LoRA_Trainer.ipynb: Run All on a fresh kernel, unattended, trains the demo and ends with a LoRA."""

from __future__ import annotations

import itertools
import json
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted(ROOT.glob("*.ipynb"))
MOST_LINES = 3  # of code in a cell


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_committed_without_outputs(path: Path) -> None:
    notebook = json.loads(path.read_text(encoding="utf-8"))
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert "widgets" not in notebook["metadata"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_is_short_and_has_guidance_above(path: Path) -> None:
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    for above, cell in itertools.pairwise(cells):
        if cell["cell_type"] == "code":
            assert above["cell_type"] == "markdown"
            lines = [line for line in "".join(cell["source"]).splitlines() if line.strip()]
            assert len(lines) <= MOST_LINES


@pytest.fixture
def ochre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder like Ochre's, with the demo and without any run; kernels find the code by PYTHONPATH."""
    folder = tmp_path / "ochre"
    shutil.copytree(ROOT / "demo", folder / "demo")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return folder


def widget_values(notebook: Any) -> str:
    """The text of every widget that the notebook holds."""
    states = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"].values()
    return "".join(str(state["state"].get("value", "")) for state in states)


@pytest.mark.slow
def test_run_all_trains_the_demo_and_ends_with_a_lora(ochre: Path) -> None:
    notebook = nbformat.read(ROOT / "LoRA_Trainer.ipynb", as_version=4)
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(ochre)}})
    client.execute()
    (workspace,) = [path.parent for path in ochre.glob("workspaces/*/run.toml")]
    (lora,) = (workspace / "output").glob("*.safetensors")
    assert lora.stat().st_size > 10_000
    events = [json.loads(line) for line in (workspace / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert events[-1]["event"] == "finished"
    shown = widget_values(notebook)
    for words in ("Stable Diffusion 1.5", "Ready to train.", "<polyline", "Done.", "How to use it", "data:image/jpeg"):
        assert words in shown
    assert len(nbformat.writes(notebook)) < 3_000_000  # the saved notebook stays small
