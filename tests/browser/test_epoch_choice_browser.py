"""The choice of an epoch in a real Chromium: a click on an epoch shows its file and its samples."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.training.events import Finished, Sampled, Saved, Started, Step, Validated
from core.training.run_folder import RunFolder

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
EPOCHS, STEPS = 6, 40
CELL = """\
from pathlib import Path
from core.manager.training_executor import Job
from widgets import open_panel
panel = open_panel("lora_trainer")
panel._train.job = Job(Path("workspaces/run"))
panel.results()"""


def events(folder: RunFolder, pictures: list[Path]) -> None:
    """A run of six epochs, of which the fourth is the best; its samples are pictures of the demo."""
    (folder.path / "samples").mkdir(parents=True)
    folder.config_path.write_text('[[concepts]]\ntrigger_word = "glim"\n')
    about: dict[str, Any] = {"family": "Stable Diffusion 1.5", "device": "cpu", "trained_weights": 1}
    folder.report(Started(step=0, total_steps=EPOCHS * STEPS, steps_per_epoch=STEPS, epochs=EPOCHS, **about))
    sample(folder, 0, pictures)
    noise = [((37 * step) % 101) / 50 - 1 for step in range(EPOCHS * STEPS)]
    for step in range(1, EPOCHS * STEPS + 1):
        epoch = (step - 1) // STEPS + 1
        numbers: dict[str, Any] = {"gradient_norm": 1.0, "images": 4, "images_per_second": 1.0, "seconds_left": 1.0}
        loss = 0.06 + 0.12 * math.exp(-step / 80) + 0.02 * noise[step - 1]
        folder.report(Step(step=step, epoch=epoch, loss=loss, learning_rates={"denoiser": 1e-4}, **numbers))
        if step % STEPS == 0:
            mean = 0.1 + 0.004 * (epoch - 4) ** 2
            losses = {"glim": mean - 0.012, "portraits": mean + 0.012}
            folder.report(Validated(step=step, losses=losses, mean=mean, judged=mean, best=epoch <= 4))
            path = folder.path / "output" / f"glim-{epoch:06d}.safetensors"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(bytes(1_000 * epoch))
            folder.report(Saved(step=step, path=str(path), why="due"))
            sample(folder, step, pictures)
    folder.report(Finished(step=EPOCHS * STEPS, path=str(path)))


def sample(folder: RunFolder, step: int, pictures: list[Path]) -> None:
    """Three samples after a step."""
    prompts, paths = ["glim, on a blue ground", "glim, on a red ground", "a red circle"], []
    for row in range(len(prompts)):
        path = folder.path / "samples" / f"{step}_{row}.png"
        shutil.copy(pictures[(row + step // STEPS) % len(pictures)], path)
        paths.append(str(path.relative_to(folder.path)))
    folder.report(Sampled(step=step, paths=paths, prompts=prompts, rows=["00", "01", "02"], seeds=[1, 1, 1]))


@pytest.fixture(scope="module")
def page(browser: Any, start_lab: Callable[[Path], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("ochre")
    shutil.copytree(ROOT / "demo", folder / "demo")
    events(RunFolder(folder / "workspaces" / "run"), sorted((ROOT / "demo" / "pictures").glob("*.png")))
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "execution_count": None, "outputs": [], "source": CELL}
    book = {"cells": [cell], "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}
    (folder / "results.ipynb").write_text(json.dumps(book))
    page = start_lab(folder).open(browser, "results.ipynb", height=1600)
    page.set_default_timeout(120_000)
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
    page.locator(".ochre-epochs").wait_for()
    return page


def test_the_best_epoch_is_chosen_at_first(page: Any) -> None:
    page.get_by_text("glim-000004.safetensors, the best by validation").wait_for()
    assert page.locator(".ochre-chart circle.saved").count() == EPOCHS
    assert page.locator(".ochre-chart circle.best").count() == 1
    assert page.get_by_role("button", name="Epoch 4 · 0.1000 ★").get_attribute("class").split().count("mod-active") == 1


def test_a_click_on_an_epoch_shows_its_file_and_its_samples(page: Any) -> None:
    mark = page.locator(".ochre-chart line.mark").get_attribute("x1")
    page.get_by_role("button", name="Epoch 2 ·").click()
    page.get_by_text("glim-000002.safetensors", exact=True).wait_for()
    page.locator("figcaption", has_text=f"Step {2 * STEPS}").first.wait_for()
    assert page.locator(".ochre-sample img").count() == 6
    assert page.locator(".ochre-chart line.mark").get_attribute("x1") != mark
    link = page.locator(".ochre .jp-OutputArea-output a").evaluate("link => link.href")
    assert len(page.request.get(link).body()) == 2_000
