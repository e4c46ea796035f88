"""What the model will see: a few showings, cut, changed and captioned as in training."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

import ipywidgets as ipw

from core.dataset.batches import Plan
from core.dataset.seen import Seen, seen
from core.dataset.views import View
from widgets.report import Report
from widgets.thumbnails import encoded, figure


class Preview:
    """Some showings of an epoch; a click shows others, of the next epoch.

    plan: gives the plan of the run, or raises OchreError.
    """

    def __init__(self, plan: Callable[[], Plan]) -> None:
        self._plan = plan
        self._epoch = 0
        self._report = Report()
        others = ipw.Button(description="Others", icon="random", tooltip="Showings of the next epoch")
        others.on_click(lambda _: self._next())
        self.widget = ipw.VBox([self._report.widget, others])
        self._show()

    def _next(self) -> None:
        self._epoch += 1
        self._show()

    def _show(self) -> None:
        epoch = self._epoch
        self._report.show_later(lambda: described(self._plan(), epoch), "Making the pictures ...")


def described(plan: Plan, epoch: int) -> str:
    """Showings of an epoch as HTML."""
    cards = "".join(_card(one) for one in seen(plan, epoch))
    about = (
        f"Drawn from epoch {epoch + 1}: cut, changed and captioned as the model gets them. "
        "What lies outside a mask is dimmed where the mask counts."
    )
    crops = [concept.image.detail_crops for concept in plan.concepts if concept.trains]
    if any(crop.enabled and crop.enable_captioning for crop in crops):
        about += " Captions of their own come to the tiles when the run starts; here they have their picture's."
    return f'<div class="ochre-help">{about}</div><div class="ochre-seen">{cards}</div>'


def _card(one: Seen) -> str:
    entry, view = one.shown.entry, one.shown.view
    pictures = [one.picture, *([one.conditioning] if one.conditioning else [])]
    shown = "".join(figure(encoded(picture), "", entry.name) for picture in pictures)
    caption = escape(one.draw.caption) if one.draw.caption else '<i class="ochre-help">no caption</i>'
    facts = ", ".join([str(view.bucket), *changes(view), *(["mask"] if one.masked else [])])
    where = f"{entry.name}, {entry.tile}" if entry.tile else entry.name
    return (
        f'<div class="ochre-sample"><div class="pair of{len(pictures)}">{shown}</div>'
        f'<div class="prompt">{caption}</div><div class="ochre-help">{escape(facts)}</div>'
        f'<div class="ochre-help">{escape(where)}</div></div>'
    )


def changes(view: View) -> list[str]:
    """What is done to a picture besides its crop, in words."""
    words = ["mirrored"] if view.flip else []
    if round(view.angle, 1):
        words.append(f"turned by {view.angle:.1f}°")
    for name in ("brightness", "contrast", "saturation"):
        factor = getattr(view, name)
        if round(100 * (factor - 1)):
            words.append(f"{name} {100 * (factor - 1):+.0f} %")
    if round(360 * view.hue):
        words.append(f"hue {360 * view.hue:+.0f}°")
    return words
