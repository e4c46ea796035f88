"""The panel of LoRA_Trainer: each step on real profiles, pictures and models."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import pytest

from core.errors import OchreError
from core.manager.training_executor import Job, TrainingExecutor
from core.training.run_folder import RunFolder
from widgets import open_panel
from widgets.dataset.uploads import save_uploads
from widgets.panels.lora_trainer import LoraTrainer
from widgets.panels.lora_trainer.train_step import RunError, TrainStep


@pytest.fixture
def panel(ochre: Path) -> Iterator[LoraTrainer]:
    TrainStep._latest = None
    yield open_panel("lora_trainer")
    TrainStep._latest = None


def values(widget: ipw.Widget) -> str:
    """The text of a widget and of all inside it."""
    own = str(getattr(widget, "value", ""))
    return own + "".join(values(child) for child in getattr(widget, "children", ()))


def buttons(widget: ipw.Widget) -> Iterator[ipw.Button]:
    if isinstance(widget, ipw.Button):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from buttons(child)


def test_a_panel_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="lora_trainer"):
        open_panel("lora")


def test_a_fresh_panel_is_ready_to_train_the_demo(panel: LoraTrainer) -> None:
    shown = values(panel.check())
    assert "Ready to train." in shown
    assert "<dt>Pictures</dt><dd>44</dd>" in shown
    assert "glim.safetensors" in shown


def test_the_base_model_is_detected(panel: LoraTrainer) -> None:
    assert "Stable Diffusion 1.5" in values(panel.base())
    source = panel.draft.form.row("base.source")
    source._input.value = "models/none.safetensors"
    assert "no file" in values(panel.base())


def test_the_pictures_are_counted_and_shown(panel: LoraTrainer) -> None:
    shown = values(panel.pictures())
    assert "44 pictures" in shown
    assert "data:image/jpeg" in shown
    Path("demo/pictures/broken.png").write_bytes(b"no picture")
    assert "broken.png" in values(panel.pictures())


def test_a_missing_folder_is_named(panel: LoraTrainer) -> None:
    panel.draft.form.replace({"concepts.0.folder": "none"})
    assert "The folder none doesn&#x27;t exist" in values(panel.pictures())


def test_changes_of_which_one_version_is_kept_are_pointed_out_beside_them(panel: LoraTrainer) -> None:
    cell, form = panel.pictures(), panel.draft.form
    gallery = panel._pictures.gallery
    gallery.open(form.cards("concepts").cards[0])
    assert "only one version" not in values(cell)
    assert "have changed since" not in values(cell)
    form.row("concepts.0.image.flip").choose("random")
    assert "only one version" in values(cell)
    assert "have changed since" in values(cell)
    form.row("concepts.0.image_variations").choose(4)
    assert "only one version" not in values(cell)
    form.row("concepts.0.image_variations").choose(1)
    form.replace({"memory.latent_caching": False})
    assert "only one version" not in values(cell)


def test_the_cache_of_the_run_is_looked_at(panel: LoraTrainer) -> None:
    step, form = panel._pictures, panel.draft.form
    assert step._cache_folder() == Path("workspaces/cache")
    form.replace({"saving.workspace": "elsewhere/run"})
    assert step._cache_folder() == Path("elsewhere/cache")
    form.replace({"memory.cache_dir": "fast_disk"})
    assert step._cache_folder() == Path("fast_disk")


def test_a_profile_changes_its_own_settings_and_is_undone(panel: LoraTrainer) -> None:
    chooser = panel._profiles._training
    panel.draft.form.replace({"saving.name": "mine", "training.seed": 7})
    before = panel.draft.form.data()
    chooser.dropdown.value = "style"
    after = panel.draft.form.data()
    changed = panel.draft.generator.changes(before, after)
    assert changed
    own = panel.draft.profiles.get("training", "style").settings_for("sd15")
    assert {change.path.split(".")[0] for change in changed} <= set(own)
    assert after["saving"]["name"] == "mine"
    assert after["training"]["seed"] == 7
    assert f"Changed {len(changed)} settings" in chooser.changes.value
    panel.draft.form.replace({"saving.name": "yours"})
    chooser.undo.click()
    back = panel.draft.form.data()
    assert back["saving"].pop("name") == "yours"
    before["saving"].pop("name")
    assert back == before
    assert chooser.dropdown.value == "demo"
    assert chooser.undo.disabled


def test_every_profile_can_be_chosen_and_undone(panel: LoraTrainer) -> None:
    before = panel.draft.form.data()
    for chooser in (panel._profiles._training, panel._profiles._memory, panel._profiles._sampling):
        names = [name for _, name in chooser.dropdown.options if name]
        assert len(names) >= 4
        for name in names:
            chooser.dropdown.value = name
            assert chooser.dropdown.value == name
            assert chooser.about.value
        while not chooser.undo.disabled:
            chooser.undo.click()
        assert panel.draft.form.data() == before


def test_a_profile_that_cannot_be_applied_leaves_everything(panel: LoraTrainer) -> None:
    panel.draft.form.replace({"base.source": "owner/unknown-model"})
    before = panel.draft.form.data()
    chooser = panel._profiles._training
    chooser.dropdown.value = "character"
    assert panel.draft.form.data() == before
    assert "Choose the base model" in chooser.changes.value
    assert chooser.dropdown.value == "demo"


def test_a_profile_of_ones_own(panel: LoraTrainer) -> None:
    chooser = panel._profiles._training
    panel.draft.form.replace({"training.epochs": 33})
    chooser.own.title.value = "My glim"
    chooser.own.button.click()
    assert Path("profiles/training/user/my_glim.toml").exists()
    chooser.own.button.click()
    assert "already" in chooser.own.said.value
    panel.draft.form.replace({"training.epochs": 3})
    chooser.dropdown.value = "my_glim"
    assert panel.draft.form.data()["training"]["epochs"] == 33


def test_the_check_shows_every_problem_with_its_place_and_its_click(panel: LoraTrainer) -> None:
    form = panel.draft.form
    panel.settings()
    form.replace({"memory.precision": "fp16", "saving.name": "a/b"})
    form.row("training.epochs").widget  # noqa: B018  builds it
    form.row("training.epochs")._input.value = "many"
    shown = values(panel.check())
    assert "Training › Epochs: must be a whole number" in shown
    assert "Must be a whole number" in form.row("training.epochs")._note.value
    form.row("training.epochs")._input.value = "2"
    form.replace({"saving.name": "ab"})
    cell = panel.check()
    fixes = [button for button in buttons(cell) if "Use precision" in button.description]
    assert fixes, values(cell)
    fixes[0].click()
    assert form.data()["memory"]["precision"] == "fp32"
    assert "Ready to train." in values(cell)


def test_uploads_overwrite_nothing(ochre: Path) -> None:
    files = [
        {"name": "a.png", "content": memoryview(b"one")},
        {"name": "../../b.txt", "content": memoryview(b"caption")},
        {"name": "c.exe", "content": memoryview(b"x")},
    ]
    said = save_uploads(files, "mine/new")
    assert said[0] == "2 files saved to mine/new"
    assert "c.exe is neither a picture nor a caption" in said[1]
    assert Path("mine/new/b.txt").read_bytes() == b"caption"
    assert (
        save_uploads([{"name": "a.png", "content": b"two"}], "mine/new")[1] == "a.png is there already; left as it is"
    )
    assert Path("mine/new/a.png").read_bytes() == b"one"


@pytest.mark.parametrize("folder", ["", "demo/pictures", "file/inside"])
def test_uploads_need_a_folder_of_the_users_own(ochre: Path, folder: str) -> None:
    Path("file").write_text("")
    with pytest.raises(OchreError):
        save_uploads([{"name": "a.png", "content": b"one"}], folder)


def test_a_run_does_not_start_with_problems(panel: LoraTrainer) -> None:
    panel.draft.form.replace({"base.source": ""})
    assert "The run did not start." in values(panel.train())
    assert not Path("workspaces").exists()
    with pytest.raises(RunError, match="choose a base model"):
        asyncio.run(panel.finished())
    assert "There is no run yet" in values(panel.results())


def test_waiting_without_a_run_says_so(panel: LoraTrainer) -> None:
    with pytest.raises(RunError, match="Run the cell above first"):
        asyncio.run(panel.finished())


def run_going_on(panel: LoraTrainer) -> tuple[RunFolder, Any]:
    """A run with the panel's settings, as another process would have it."""
    folder = RunFolder(Path("workspaces/2026-01-01_glim"))
    lock = folder.lock()
    config, _ = panel.draft.generator.validate(panel.draft.form.data())
    assert config
    folder.claim(config)
    return folder, lock


def test_a_run_that_is_going_on_is_attached_to(panel: LoraTrainer) -> None:
    folder, lock = run_going_on(panel)
    assert "going on already" in values(panel.train())
    assert panel._train.job is not None
    assert panel._train.job.workspace == folder.path
    assert [path.name for path in Path("workspaces").iterdir()] == [folder.path.name]
    lock.release()


def test_a_run_with_other_settings_is_not_attached_to(panel: LoraTrainer) -> None:
    _, lock = run_going_on(panel)
    panel.draft.form.replace({"training.seed": 5})
    assert panel._train._going_on() is None
    lock.release()


def test_another_panel_of_the_kernel_attaches_to_its_run(panel: LoraTrainer) -> None:
    folder, lock = run_going_on(panel)
    TrainStep._latest = Job(folder.path)
    again: LoraTrainer = open_panel("lora_trainer")
    again.draft.form.replace({"training.seed": 5})
    assert "going on already" in values(again.train())
    lock.release()


def test_settings_of_an_earlier_run_are_taken_over(panel: LoraTrainer) -> None:
    panel.draft.form.replace({"training.epochs": 33, "saving.workspace": "workspaces/old"})
    config, _ = panel.draft.generator.validate(panel.draft.form.data())
    assert config
    panel.draft.generator.write(config, Path("old.toml"))
    again: LoraTrainer = open_panel("lora_trainer")
    again._settings.path.value = "old.toml"
    again._settings.read.click()
    assert again.draft.form.data()["training"]["epochs"] == 33
    assert again.draft.form.data()["saving"]["workspace"] == ""
    again._settings.path.value = "none.toml"
    again._settings.read.click()
    assert "There is no config none.toml" in again._settings.said.value.replace("&#x27;", "'")


@pytest.mark.slow
def test_a_real_run_is_started_steered_and_shown(panel: LoraTrainer) -> None:
    from core.families._saving import save_folder
    from core.registry import registry

    save_folder(registry("families").get("sd15")().tiny(), Path("demo/model"))
    panel.draft.form.replace({"training.epochs": 200, "sampling.steps": 1, "sampling.every": "never"})

    async def session() -> tuple[str, str]:
        cell = panel.train()
        view = panel._train._view
        assert view
        while not (view.progress.step and view.progress.step.step >= 3):
            assert view.progress.ending is None, values(cell)
            await asyncio.sleep(0.1)
        save = next(button for button in buttons(cell) if button.description == "Save now")
        stop = next(button for button in buttons(cell) if button.description == "Stop")
        save.click()
        while not any("saved" in message for message in view.progress.messages):
            await asyncio.sleep(0.1)
        stop.click()
        await panel.finished()
        return values(cell), values(panel.results())

    shown, results = asyncio.run(session())
    assert "Stopped after step" in shown
    assert "data:image/jpeg" in shown
    assert ".safetensors" in results
    assert "&lt;lora:" in results
    assert TrainingExecutor().running() == []
