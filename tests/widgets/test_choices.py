"""What stands beside the settings: drawings, what is known of an optimizer, which programs load a network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ipywidgets as ipw
import pytest

from core.registry import registry
from core.training.events import Started
from core.training.run_folder import RunFolder
from widgets import open_panel
from widgets.panels.lora_trainer import LoraTrainer
from widgets.panels.lora_trainer.choices import NetworkFacts, OptimizerFacts, memory_of
from widgets.panels.lora_trainer.draft import Draft
from widgets.panels.lora_trainer.plots import SchedulePlot, TimesPlot
from widgets.wording import one_of


@pytest.fixture
def panel(ochre: Path) -> LoraTrainer:
    return open_panel("lora_trainer")


@pytest.fixture
def draft(ochre: Path) -> Draft:
    return Draft()


def values(widget: ipw.Widget) -> str:
    own = str(getattr(widget, "value", ""))
    return own + "".join(values(child) for child in getattr(widget, "children", ()))


def buttons(widget: ipw.Widget) -> Iterator[ipw.Button]:
    if isinstance(widget, ipw.Button):
        yield widget
    for child in getattr(widget, "children", ()):
        yield from buttons(child)


def test_the_drawings_follow_what_is_typed(draft: Draft) -> None:
    schedule, times = SchedulePlot(draft), TimesPlot(draft)
    draft.form.put_into("schedule", schedule, above=True)
    draft.form.put_into("times", times, above=True)
    assert schedule.widget.value == times.widget.value == ""  # nothing is drawn before its section is opened
    for section in draft.form._sections.values():
        section.open()
    seen = {schedule.widget.value}
    assert "1,000 steps" in schedule.widget.value
    for path, value in (
        ("schedule.minimum", 0.5),
        ("schedule", {"name": "rex"}),
        ("parts.denoiser.learning_rate", 3e-4),
        ("training.max_steps", 77),
    ):
        draft.form.replace({path: value})
        assert schedule.widget.value not in seen
        seen.add(schedule.widget.value)
    assert "drawn for 77 steps" in schedule.widget.value
    before = times.widget.value
    draft.form.replace({"times": {"name": "beta"}})
    assert times.widget.value != before
    draft.form.row("schedule.d").choose("much")  # what is no number leaves the last drawing
    assert schedule.widget.value in seen


def test_the_length_is_known_once_the_pictures_were_looked_at(draft: Draft) -> None:
    config = draft.config()
    assert config and draft.length(config)[1] is False
    draft.look.again(tokens=False)
    length, known = draft.length(config)
    assert known and length.steps == draft.executor.plan(config).total_steps
    draft.form.replace({"training.epochs": 1})
    half = draft.config()
    assert half and draft.length(half) == (draft.executor.plan(half).length, True)
    draft.form.replace({"concepts.0.repeats": 3.0})  # other pictures: to be looked at again
    assert draft.length(config)[1] is False


def test_everything_has_words_for_the_optimizer_and_the_networks(draft: Draft) -> None:
    optimizer, networks = OptimizerFacts(draft), NetworkFacts(draft)
    for name in registry("optimizers").names():
        draft.form.replace({"optimizer": {"name": name}})
        optimizer.refresh()
        assert "for each trained weight" in values(optimizer.widget) or "none" in values(optimizer.widget)
    for name, cls in registry("networks").all().items():
        draft.form.replace({"networks": [{"name": name}]})
        networks.refresh()
        assert f"<b>{cls.label}: " in values(networks.widget).replace("&#x27;", "'")


def test_an_optimizer_with_compiled_code_can_be_tried(draft: Draft) -> None:
    facts = OptimizerFacts(draft)
    draft.form.replace({"optimizer": {"name": "adamw"}})
    facts.refresh()
    assert list(buttons(facts.widget)) == []
    draft.form.replace({"optimizer": {"name": "adamw8bit"}})
    facts.refresh()
    assert [button.description for button in buttons(facts.widget)] == ["Test it here"]
    facts.button.click()  # in a process of its own
    assert "AdamW 8-bit works here." in facts.found.value
    assert facts.found.value.count('class="good"') >= 3 and 'class="bad"' not in facts.found.value
    draft.form.replace({"optimizer": {"name": "lion8bit"}})
    facts.refresh()
    assert facts.found.value == ""  # what was found is of another one


def test_memory_is_told_for_the_weights_of_a_run_like_this_one(draft: Draft) -> None:
    config = draft.config()
    assert config
    assert memory_of(config.optimizer, None) == "8 bytes for each trained weight: 80 MB for ten million weights"
    folder = RunFolder(Path("workspaces/earlier"))
    with folder.lock():
        folder.claim(config)
    draft.job = draft.executor.attach(folder.path)
    assert draft.trained_weights(config) is None  # it hasn't begun
    folder.report(
        Started(
            step=0, total_steps=1, steps_per_epoch=1, epochs=1, family="SD", device="cpu", trained_weights=1_250_000
        )
    )
    assert draft.trained_weights(config) == 1_250_000
    assert "10 MB for 1.25 million weights" in memory_of(config.optimizer, 1_250_000)
    draft.form.replace({"networks.0.rank": 99})
    other = draft.config()
    assert other and draft.trained_weights(other) is None


def test_a_plain_lora_is_one_click_away_where_a_program_refuses_the_file(panel: LoraTrainer) -> None:
    draft = panel.draft
    facts = NetworkFacts(draft)
    facts.refresh()
    assert list(buttons(facts.widget)) == [] and "diffusers" in values(facts.widget)
    draft.form.replace({"networks": [{"name": "lokr"}]})
    facts.refresh()
    assert "diffusers</b>: Refuses the file." in values(facts.widget)
    (button,) = buttons(facts.widget)
    button.click()
    config = draft.config()
    assert config and config.networks[0].beside_names() == ["plain"]
    facts.refresh()
    assert list(buttons(facts.widget)) == [] and "A plain LoRA is saved beside it" in values(facts.widget)


def test_embeddings_losses_and_rules_are_added_and_taken_out(panel: LoraTrainer) -> None:
    panel.settings()
    form = panel.draft.form
    for name, words, new in (
        ("networks", "Add an embedding", "embedding"),
        ("losses", "Add a loss", "l1"),
        ("weightings", "Add a weighting", "min_snr"),
    ):
        cards = form.cards(name)
        before = cards.data()
        (add,) = [button for button in buttons(form.body(name)) if button.description == words]
        add.click()
        assert [entry["name"] for entry in cards.data()[len(before) :]] == [new]
        (*_, remove) = [button for button in buttons(form.body(name)) if button.description == "Remove"]
        remove.click()
        assert cards.data() == before
    form.replace({"networks.0.rules": [{"blocks": "IN04-IN08", "rank": 4}, {"pattern": "attn2", "train": False}]})
    shown = values(form.body("networks"))
    assert "<b>IN04-IN08</b>" in shown and "<b>attn2</b>" in shown and "<h4>Rules</h4>" in shown
    assert panel.draft.problems(form.data()) == []


def test_an_empty_list_of_advanced_entries_is_among_the_further_settings(panel: LoraTrainer) -> None:
    body = panel.draft.form.body("networks")
    assert "<h4>Rules</h4>" not in values(body)
    (more,) = [child for child in body.children[0].children[-1].children if isinstance(child, ipw.ToggleButton)]
    more.value = True
    assert "<h4>Rules</h4>" in values(body)


def test_a_schedule_that_does_not_fit_is_solved_by_a_click_in_the_check(panel: LoraTrainer) -> None:
    panel.draft.form.replace({"schedule": {"name": "constant", "warmup_steps": 100_000}})
    cell = panel.check()
    assert "One thing stands in the way" in values(cell) and "full rate is never reached" in values(cell)
    row = panel.draft.form.row("schedule.warmup_steps")
    assert row.problem is not None
    (fix,) = [button for button in buttons(cell) if button.description.startswith("Use warmup_steps")]
    fix.click()
    assert "Ready to train." in values(cell) and "Learning rate over the run" in values(cell)
    assert row.problem is None


@pytest.mark.parametrize(
    ("title", "words"),
    [("Losses", "a loss"), ("Rules", "a rule"), ("Entries", "an entry"), ("Network", "a network")],
)
def test_one_of_a_list(title: str, words: str) -> None:
    assert one_of(title) == words


def test_search_finds_a_plug_in_by_what_other_programs_call_it(panel: LoraTrainer) -> None:
    node = panel.draft.form.choice("schedule")
    assert node.matches("RAWR") and node.matches("COSINE_WITH_HARD_RESTARTS") and node.matches("piecewise")
    assert panel.draft.form.choice("optimizer").matches("PagedAdamW8bit")
    assert not node.matches("lokr")


def test_a_sampling_preset_is_chosen_and_taken_back(panel: LoraTrainer) -> None:
    chooser = panel._profiles._sampling
    before = panel.draft.form.data()
    assert chooser.dropdown.value == "" and chooser.about.value == ""
    names = [name for _, name in chooser.dropdown.options if name]
    assert len(names) >= 5
    for name in names:
        chooser.dropdown.value = name
        after = panel.draft.form.data()
        changed = {change.path.split(".")[0] for change in panel.draft.generator.changes(before, after)}
        assert changed == {"sampling"} and after["sampling"]["prompts"] != before["sampling"]["prompts"]
        assert panel.draft.problems(after) == []
        assert chooser.about.value
    while not chooser.undo.disabled:
        chooser.undo.click()
    assert panel.draft.form.data() == before and chooser.dropdown.value == ""
