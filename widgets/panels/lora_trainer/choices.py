"""What is known of the chosen optimizer and networks, beside their settings: where they work, what they cost."""

from __future__ import annotations

from html import escape

import ipywidgets as ipw

from core.config.lora import LoraConfig
from core.manager.optimizer_registry import OptimizerRegistry, SelfTest
from core.settings.bases import NetworkConfig, OptimizerConfig
from widgets.background import Background
from widgets.panels.lora_trainer.draft import Draft
from widgets.plot import short
from widgets.wording import facts, file_size, note


class OptimizerFacts:
    """Whether the optimizer works here, what it needs, and a trial of it where it runs compiled code."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._registry = OptimizerRegistry(draft.generator.machine)
        self._background = Background()
        self._tried = ""
        self.about, self.found = ipw.HTML(), ipw.HTML()
        self.button = ipw.Button(
            description="Test it here", icon="play", tooltip="Takes a step with it, in a process of its own: 5 to 30 s."
        )
        self.button.on_click(lambda _: self.test())
        self.widget = ipw.VBox([self.about])

    def labels(self) -> dict[str, str]:
        """Name -> what is said of it where one is chosen, for those that don't work here."""
        entries = [entry for entry in self._registry.entries() if not entry.availability.works]
        return {entry.name: f"{entry.label} (not on this machine)" for entry in entries}

    def refresh(self) -> None:
        """Show what is known of the chosen one."""
        config = self._draft.config()
        if config is None:
            return
        optimizer = config.optimizer
        self.about.value = self._known(config)
        if optimizer.name != self._tried:
            self._background.forget()
            self._tried, self.found.value, self.button.disabled = "", "", False
        native = optimizer.native and self._registry.check(optimizer.name).works
        shown = (self.about, self.button, self.found) if native else (self.about,)
        if shown != self.widget.children:
            self.widget.children = shown

    def test(self) -> None:
        """Try it, and show line by line what is found."""
        config = self._draft.config()
        if config is None:
            return
        name = self._tried = config.optimizer.name
        self.button.disabled = True
        self.found.value = '<div class="ochre-help">Testing it takes 5 to 30 seconds ...</div>'
        self._background.do(lambda: self._registry.self_test(name), self._show)

    def _show(self, test: SelfTest) -> None:
        self.button.disabled = False
        self.found.value = test_report(test)

    def _known(self, config: LoraConfig) -> str:
        optimizer = config.optimizer
        availability = self._registry.check(optimizer.name)
        here = "works, as far as can be told without a test" if optimizer.native else "works"
        shown = {
            "On this machine": here if availability.works else "",
            "Library": getattr(optimizer, "library", "torch"),
            "Needs": "a GPU" if optimizer.needs_gpu else "",
            "Memory": memory_of(optimizer, self._draft.trained_weights(config)),
            "Learning rate": _rate(optimizer),
            "Elsewhere": ", ".join(optimizer.programs_call_it),
        }
        warning = "" if availability.works else note("It doesn't work here.", availability.reason, "bad")
        return f'{warning}<div class="ochre-known">{facts(shown)}</div>'


def _rate(optimizer: OptimizerConfig) -> str:
    if optimizer.keeps_own_rate():
        return "its own; that of the parts has no effect"
    least, most = optimizer.sensible_rates
    span = f"{short(least)} to {short(most)}" if least else f"up to {short(most)}"
    return f"{span}, usually {short(optimizer.usual_rate)}"


def memory_of(optimizer: OptimizerConfig, weights: int | None) -> str:
    """What its state takes, in words. weights: how many are trained, where that is known."""
    each = optimizer.state_bytes()
    if not each:
        return "none"
    count = weights or 10_000_000
    whose = f"{count / 1e6:.3g} million weights, as the last run had" if weights else "ten million weights"
    unit = "byte" if each == 1 else "bytes"
    return f"{each:.3g} {unit} for each trained weight: {file_size(round(each * count))} for {whose}"


def test_report(test: SelfTest) -> str:
    """What a trial found, line by line, as HTML."""
    lines = "".join(
        f'<li class="{"good" if finding.passed else "bad"}">{escape(finding.text)}</li>' for finding in test.findings
    )
    title = f"{test.label} works here." if test.passed else f"{test.label} doesn't work here."
    kind, role = ("good", "") if test.passed else ("bad", ' role="alert"')
    return f'<div class="ochre-note {kind}"{role}><b>{escape(title)}</b><ul class="ochre-found">{lines}</ul></div>'


class NetworkFacts:
    """Which programs load what each network makes, and the click that saves a plain LoRA as well."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self.widget = ipw.VBox()

    def refresh(self) -> None:
        """Show it for the networks that stand in the form now."""
        config = self._draft.config()
        if config is None:
            return
        shown: list[ipw.Widget] = [ipw.HTML(loading_table(config.networks))]
        shown += [self._button(index) for index, network in enumerate(config.networks) if wants_plain(network)]
        self.widget.children = tuple(shown)

    def _button(self, index: int) -> ipw.Button:
        button = ipw.Button(description="Also save a plain LoRA", icon="save", _dom_classes=("ochre-quiet",))
        button.tooltip = "A second file of the same effect, which every program loads."
        button.on_click(lambda _: self._draft.form.replace({f"networks.{index}.save_plain": True}))
        return button


def wants_plain(network: NetworkConfig) -> bool:
    """Whether a plain LoRA beside it would be loaded where it isn't itself, and isn't saved yet."""
    can = "save_plain" in type(network).model_fields and not network.beside_names()
    return can and any(network.loads_in().values())


def loading_table(networks: list[NetworkConfig]) -> str:
    """What each program does with each network's file, as HTML."""
    parts = []
    for network in networks:
        told = network.loads_in()
        good = [program for program, wrong in told.items() if not wrong]
        lines = [f"<li><b>{escape(program)}</b>: {escape(wrong)}</li>" for program, wrong in told.items() if wrong]
        title = f"{network.label}: loads in {_and(good)}." if good else f"{network.label}: no program loads it."
        if "plain" in network.beside_names():
            lines.append("<li>A plain LoRA is saved beside it, which every program loads.</li>")
        parts.append(f"<b>{escape(title)}</b>" + (f'<ul class="ochre-found">{"".join(lines)}</ul>' if lines else ""))
    return f'<div class="ochre-note">{"".join(f"<div>{part}</div>" for part in parts)}</div>' if parts else ""


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
