"""LoRA_Trainer.ipynb in JupyterLab, in a real Chromium, as its user meets it.

With OCHRE_PICTURES set to a folder, pictures of the pages for the docs are written there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from widgets.theme import theme_names, variables

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ROOT = Path(__file__).parents[2]
CONNECTED = (
    "() => window.jupyterapp?.shell?.currentWidget?.sessionContext?.session?.kernel?.connectionStatus === 'connected'"
)
PATIENCE = 120_000  # milliseconds; a busy machine loads torch in half a minute
PICTURES = os.environ.get("OCHRE_PICTURES")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like Ochre's, with the notebook and the demo."""
    folder = tmp_path_factory.mktemp("ochre")
    shutil.copytree(ROOT / "demo", folder / "demo")
    shutil.copy(ROOT / "LoRA_Trainer.ipynb", folder)
    return folder


@pytest.fixture(scope="module")
def lab(browser: Any, start_lab: Callable[[Path], Any], folder: Path) -> Any:
    return start_lab(folder)


@pytest.fixture(scope="module")
def page(browser: Any, lab: Any) -> Iterator[Any]:
    """The notebook, all of its cells on the page."""
    page = lab.open(browser, "LoRA_Trainer.ipynb", height=6000)
    page.set_default_timeout(PATIENCE)
    yield page
    page.close()


def workspaces(folder: Path) -> list[Path]:
    """Every run's."""
    return [path.parent for path in folder.glob("workspaces/*/run.toml")]


def execute(page: Any, command: str) -> None:
    """Have JupyterLab do something, without waiting for it."""
    page.evaluate("name => { window.jupyterapp.commands.execute(name); }", command)


def select_cell(page: Any, code: str) -> None:
    """Make the cell with this code the active one."""
    page.locator(".jp-CodeCell .cm-line").get_by_text(code, exact=True).first.click()


def steps_done(page: Any) -> int:
    """The step that the run view shows; 0 before the first."""
    words = page.locator(".ochre-headline b").last.inner_text().split()
    return int(words[1]) if words[0] == "Step" else 0


def wait_for_step(page: Any, step: int) -> None:
    script = """least => {
        const shown = [...document.querySelectorAll('.ochre-headline b')].pop()?.innerText.split(' ') ?? [];
        return shown[0] === 'Step' && Number(shown[1]) >= least;
    }"""
    page.wait_for_function(script, arg=step)


def picture(page: Any, name: str, selector: str = "") -> None:
    """Keep a picture of the page, or of a part of it, if asked to."""
    if PICTURES:
        target = Path(PICTURES) / f"{name}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        (page.locator(selector).last if selector else page).screenshot(path=str(target))
        with Image.open(target) as large:  # 128 colours are enough for a page, and a third of the bytes
            large.convert("RGB").quantize(128).save(target, optimize=True)


def test_every_panel_opens(page: Any) -> None:
    select_cell(page, "panel.train()")
    execute(page, "notebook:run-all-above")
    page.get_by_text("Ready to train.").wait_for()
    page.get_by_text("44 pictures", exact=True).wait_for()
    assert page.locator(".ochre-tile").count() == 2
    assert page.locator(".ochre-tile img").count() == 6
    assert page.locator(".ochre-pictures img").count() == 8
    assert page.locator(".ochre").count() == 6


def tile(page: Any, name: str) -> Any:
    """The small card of a concept."""
    return page.locator(".ochre-tile").filter(has=page.get_by_role("button", name=name, exact=True))


def test_a_concept_is_added_by_keyboard_and_looked_at(page: Any, folder: Path) -> None:
    mine = folder / "mine" / "10_glim"
    shutil.copytree(ROOT / "demo" / "pictures", mine)
    (mine / "broken.png").write_bytes(b"no picture")
    page.get_by_role("button", name="Add a concept").focus()
    page.keyboard.press("Enter")
    details = page.locator(".ochre-details")
    details.get_by_label("Name", exact=True).fill("mine")
    details.get_by_label("Folder", exact=True).fill("mine/10_glim")
    page.keyboard.press("Tab")
    tile(page, "mine").get_by_text("21 pictures").wait_for()
    assert tile(page, "mine").locator("img").count() == 3
    details.get_by_role("button", name="Use 10").click()
    tile(page, "mine").get_by_text("standard · 10×").wait_for()
    picture(page, "concepts", ".ochre-body:has(.ochre-tiles)")
    details.get_by_role("button", name="Augmentation").focus()
    page.keyboard.press("Enter")
    details.get_by_label("Mirror", exact=True).select_option("random")
    page.get_by_role("button", name="Look at the pictures").click()
    page.get_by_text("64 pictures", exact=True).wait_for()
    page.get_by_text("20 pictures (and 1 left out), each shown 10 times in an epoch").wait_for()
    assert page.get_by_text("only one version of it is kept").count() == 2  # beside the setting, and in the report
    picture(page, "pictures_report", ".ochre:has(.ochre-tiles)")


def test_every_picture_is_in_the_report(page: Any) -> None:
    page.get_by_role("button", name="Every picture (65)").click()
    page.get_by_text("1 to 25 of 65").wait_for()
    page.get_by_label("Show", exact=True).select_option("Left out (1)")
    page.locator(".ochre-table td", has_text="10_glim/broken.png").wait_for()
    assert page.locator(".ochre-table tbody tr").count() == 1


def test_a_concept_in_numbers(page: Any) -> None:
    page.locator(".ochre-details").get_by_role("button", name="Statistics").click()
    page.locator(".ochre-details .ochre-bars", has_text="on an orange ground").wait_for()
    assert page.locator(".ochre-details").get_by_text("20 pictures, and 1 left out").is_visible()
    picture(page, "statistics", ".ochre-details")


def test_what_the_model_will_see(page: Any) -> None:
    page.get_by_role("button", name="What the model will see").click()
    page.get_by_text("Drawn from epoch 1").wait_for()
    assert page.locator(".ochre-seen img").count() == 8
    page.get_by_role("button", name="Others").click()
    page.get_by_text("Drawn from epoch 2").wait_for()
    picture(page, "model_sees", ".ochre-tabbed:has(.ochre-seen)")


def test_a_wrong_value_marks_the_card(page: Any) -> None:
    details = page.locator(".ochre-details")
    details.get_by_role("button", name="General").click()
    details.get_by_label("Repeats", exact=True).fill("many")
    page.keyboard.press("Tab")
    tile(page, "mine").get_by_text("1 to correct").wait_for()
    assert details.get_by_label("Repeats", exact=True).input_value() == "many"
    details.get_by_role("button", name="General (1 to correct)").wait_for()


def test_a_concept_is_removed_and_put_back(page: Any) -> None:
    details = page.locator(".ochre-details")
    details.get_by_role("button", name="Remove").click()
    details.wait_for(state="detached")
    assert page.locator(".ochre-tile").count() == 2
    page.get_by_role("button", name="Put it back").click()
    tile(page, "mine").wait_for()
    tile(page, "mine").get_by_role("button", name="mine").click()
    details.get_by_role("button", name="Remove").click()
    details.wait_for(state="detached")
    page.get_by_role("button", name="Look at the pictures").click()
    page.get_by_text("44 pictures", exact=True).wait_for()


def test_a_wrong_value_stays_and_is_explained(page: Any) -> None:
    page.locator(".ochre-section-header", has_text="Training").click()
    epochs = page.get_by_label("Epochs", exact=True)
    epochs.fill("many")
    epochs.press("Tab")
    page.get_by_text("Must be a whole number (it is 'many').").wait_for()
    assert epochs.input_value() == "many"
    picture(page, "wrong_value", ".ochre-section:has(.ochre-problem)")
    epochs.fill("2e2")  # long enough for all that follows
    epochs.press("Tab")
    page.get_by_text("Must be a whole number").wait_for(state="detached")


def section(page: Any, title: str) -> Any:
    """A section of the settings."""
    return page.locator(".ochre-section").filter(has=page.locator(".ochre-section-header", has_text=title))


def test_the_rates_and_the_times_are_drawn_as_they_are_set(page: Any) -> None:
    schedule, times = section(page, "Schedule:"), section(page, "Times:")
    for one, line in ((schedule, "polyline.line-0"), (times, "polyline.smooth")):
        one.locator(".ochre-section-header").click()
        one.locator(line).wait_for(state="attached")
    before = schedule.locator("polyline.line-0").get_attribute("points")
    schedule.get_by_label("Schedule", exact=True).select_option("REX with restarts")
    schedule.get_by_label("Bend (d)", exact=True).wait_for()
    assert schedule.locator("polyline.line-0").get_attribute("points") != before
    times.get_by_label("Times", exact=True).select_option("Logit-normal")
    times.get_by_label("Mean", exact=True).wait_for()
    picture(page, "schedule", ".ochre-section:has(polyline.line-0)")
    picture(page, "times", ".ochre-section:has(polyline.smooth)")
    schedule.get_by_label("Schedule", exact=True).select_option("Cosine")
    times.get_by_label("Times", exact=True).select_option("Uniform")


def test_what_is_known_of_an_optimizer_and_a_network_stands_beside_them(page: Any) -> None:
    optimizer, network = section(page, "Optimizer:"), section(page, "Network")
    optimizer.locator(".ochre-section-header").click()
    optimizer.get_by_label("Optimizer", exact=True).select_option("AdamW 8-bit")
    optimizer.get_by_role("button", name="Test it here").click()
    optimizer.get_by_text("AdamW 8-bit works here.").wait_for()
    picture(page, "optimizer", ".ochre-section:has(.ochre-known)")
    optimizer.get_by_label("Optimizer", exact=True).select_option("AdamW")
    network.locator(".ochre-section-header").click()
    network.get_by_label("Kind", exact=True).select_option("LoKr")
    network.get_by_role("button", name="Also save a plain LoRA").click()
    network.get_by_text("A plain LoRA is saved beside it").wait_for()
    picture(page, "network", ".ochre-section:has(.ochre-found)")
    network.get_by_label("Kind", exact=True).select_option("LoRA")


def test_the_run_starts_when_the_cell_is_run(page: Any) -> None:
    select_cell(page, "panel.train()")
    execute(page, "notebook:run-all-below")
    wait_for_step(page, 1)


def test_the_bar_and_the_curve_move_and_samples_are_there(page: Any) -> None:
    first = steps_done(page)
    drawn = page.locator(".ochre-run polyline.smooth").get_attribute("points")
    wait_for_step(page, first + 3)
    assert page.locator(".ochre-run polyline.smooth").get_attribute("points") != drawn
    assert page.locator(".ochre-bar .progress-bar").evaluate("bar => bar.offsetWidth") > 0
    assert page.locator(".ochre-run .ochre-sample img").count() >= 4


def test_sample_now_draws_samples_at_once(page: Any) -> None:
    page.get_by_role("button", name="Sample now").click()
    page.locator(".ochre-run figcaption").get_by_text("Step", exact=False).first.wait_for()


def test_the_theme_changes_every_cell_at_once(page: Any) -> None:
    for name in [*theme_names()[1:], theme_names()[0]]:
        page.get_by_label("Theme").select_option(name.capitalize())
        ground = variables(name)["--ochre-background"]
        script = """wanted => [...document.querySelectorAll('.ochre')].every(
            cell => getComputedStyle(cell).getPropertyValue('--ochre-background').trim() === wanted)"""
        page.wait_for_function(script, arg=ground)
        picture(page, f"theme_{name}", ".ochre:has(.ochre-run)")


def test_a_setting_can_be_changed_more_than_once_while_it_trains(page: Any) -> None:
    name = page.get_by_label("Batch size", exact=True)
    for wrong in ("none", "0.5", "0"):
        name.fill(wrong)
        name.press("Tab")
        page.get_by_text(f"(it is '{wrong}')" if wrong == "none" else f"(it is {wrong})").wait_for()
    name.fill("4")
    name.press("Tab")
    page.locator(".ochre-problem").wait_for(state="detached")


def test_every_input_has_a_name(page: Any) -> None:
    tile(page, "glim").get_by_role("button", name="glim").click()
    page.get_by_role("button", name="Saved sets and import").click()
    page.get_by_label("From kohya", exact=True).wait_for()
    page.locator(".ochre-details").get_by_label("Trigger word", exact=True).wait_for()
    names = page.locator(".ochre input:visible, .ochre select:visible").evaluate_all(
        "inputs => inputs.map(input => (input.labels?.[0]?.innerText || input.ariaLabel || '').trim())"
    )
    assert len(names) > 20
    assert all(names), names


def test_the_page_is_reloaded_and_the_cell_attaches_to_the_run(page: Any, folder: Path) -> None:
    page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")
    page.reload()
    page.wait_for_selector(".jp-Notebook")
    page.wait_for_function(CONNECTED)
    page.evaluate("() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.interrupt()")
    select_cell(page, "panel.train()")
    execute(page, "notebook:run-cell")
    page.get_by_text("This run was going on already.").wait_for()
    wait_for_step(page, steps_done(page) + 3)
    assert len(workspaces(folder)) == 1


def test_stop_ends_the_run_with_a_backup(page: Any, folder: Path) -> None:
    page.get_by_role("button", name="Stop").last.click()
    page.get_by_text("Stopped after step").first.wait_for()
    (workspace,) = workspaces(folder)
    assert any((workspace / "backups").glob("step-*"))


@pytest.mark.skipif(not PICTURES, reason="takes as long as the demo; for the pictures in the docs, set OCHRE_PICTURES")
def test_run_all_from_top_to_bottom(browser: Any, start_lab: Callable[[Path], Any], tmp_path: Path) -> None:
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    shutil.copy(ROOT / "LoRA_Trainer.ipynb", tmp_path)
    page = start_lab(tmp_path).open(browser, "LoRA_Trainer.ipynb", height=7000)
    page.set_default_timeout(4 * PATIENCE)
    execute(page, "notebook:run-all-cells")
    page.locator(".ochre-places").wait_for()
    page.wait_for_timeout(1000)
    picture(page, "lora_trainer")
    picture(page, "lora_trainer_run", ".ochre:has(.ochre-run)")
    picture(page, "lora_trainer_results", ".ochre:has(.ochre-places)")
    link = page.locator(".ochre .jp-OutputArea-output a").evaluate("link => link.href")
    assert page.request.get(link).body() == next(tmp_path.glob("workspaces/*/output/*.safetensors")).read_bytes()
