"""Keys follow the content and nothing else; encodings don't depend on what else is encoded."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import pytest
import torch

from core.contracts import Size
from core.dataset import encoders
from core.dataset.encoders import ImageEncoder, TextEncoder, encode_captions, encode_pictures
from core.dataset.manifest import Entry, Tile
from core.dataset.pixels import Pixels
from core.dataset.settings import ConceptImage
from core.dataset.views import Shown, View
from core.errors import TrainingError

ENTRY = Entry(
    path="a/cat.png",
    sha256="1" * 64,
    width=640,
    height=480,
    captions=("a cat",),
    concept=0,
    buckets=(Size(64, 96),),
    name="a/cat.png",
    mask="2" * 64,
    conditioning="3" * 64,
)
IMAGE = ConceptImage(mask="file", conditioning=True)
SHOWN = Shown(ENTRY, View(Size(64, 96)), IMAGE)


def images(**changes: Any) -> ImageEncoder:
    return dataclasses.replace(ImageEncoder(lambda pixels: pixels, "vae", "fp32", 1), **changes)


def shown(entry: dict[str, Any] | None = None, view: dict[str, Any] | None = None, **image: Any) -> Shown:
    return Shown(
        dataclasses.replace(ENTRY, **(entry or {})),
        dataclasses.replace(SHOWN.view, **(view or {})),
        IMAGE.model_copy(update=image),
    )


TILE = Tile(Size(480, 640), 0, 0, 64)
CHANGED = {
    "bytes": shown({"sha256": "4" * 64}),
    "tile": shown({"tile": TILE}),
    "tile's place": shown({"tile": dataclasses.replace(TILE, left=8)}),
    "tile's side": shown({"tile": dataclasses.replace(TILE, side=72)}),
    "tile's scale": shown({"tile": dataclasses.replace(TILE, scaled=Size(240, 320))}),
    "bucket": shown(view={"bucket": Size(64, 64)}),
    "flip": shown(view={"flip": True}),
    "angle": shown(view={"angle": 3.0}),
    "place": shown(view={"place": (0.5, 0.25)}),
    "brightness": shown(view={"brightness": 1.1}),
    "contrast": shown(view={"contrast": 1.1}),
    "saturation": shown(view={"saturation": 1.1}),
    "hue": shown(view={"hue": 0.1}),
    "shift": shown(view={"shift": (0, 1)}),
    "alpha colour": shown(alpha_colour="#000000"),
    "mask": shown({"mask": "5" * 64}),
    "no mask": shown({"mask": ""}),
    "mask mode": shown(mask="alpha"),
    "mask off": shown(mask="off"),
}


def test_every_field_of_a_view_is_among_these() -> None:
    assert {field.name for field in dataclasses.fields(View)} <= CHANGED.keys()


def test_each_thing_that_changes_the_latents_changes_their_key() -> None:
    keys = {name: images().key(changed) for name, changed in CHANGED.items()} | {"plain": images().key(SHOWN)}
    encoded = {"fingerprint": "other", "dtype": "fp16", "batch_size": 2, "inpainting": True}
    keys |= {name: images(**{name: value}).key(SHOWN) for name, value in encoded.items()}
    inpainting = images(inpainting=True)
    keys["conditioning"] = inpainting.key(shown({"conditioning": "6" * 64}))
    keys["no conditioning"] = inpainting.key(shown(conditioning=False))
    assert len(set(keys.values())) == len(keys)


def test_how_pictures_are_fitted_is_part_of_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    before = images().key(SHOWN)
    monkeypatch.setattr(encoders, "FITTING", "another way")
    assert images().key(SHOWN) != before


@pytest.mark.parametrize(
    "same",
    [
        shown({"path": "b/moved.png", "name": "b/moved.png"}),
        shown({"captions": ("other",)}),
        shown({"concept": 3}),
        shown({"buckets": (Size(64, 96), Size(128, 96))}),
        shown(unmasked_weight=0.7, unmasked_probability=0.9, normalize_masked_area_loss=True),
        shown(flip="random", rotate="random", hue_strength=0.3),  # what came of them is in the view
        shown({"conditioning": "6" * 64}),  # the model isn't shown it
        shown(alpha_colour=IMAGE.alpha_colour.upper()),
    ],
    ids=["folder", "caption", "concept", "buckets", "loss", "settings of views", "conditioning", "letters"],
)
def test_what_does_not_change_the_latents_does_not_change_their_key(same: Shown) -> None:
    assert images().key(same) == images().key(SHOWN)


def test_a_mask_file_that_is_not_used_does_not_change_the_key() -> None:
    assert images().key(shown(mask="alpha")) == images().key(shown({"mask": "5" * 64}, mask="alpha"))


def text(captions: Sequence[str]) -> list[dict[str, torch.Tensor]]:
    return [{"hidden": torch.tensor([float(len(caption)), float(len(captions))])} for caption in captions]


def test_each_thing_that_changes_an_encoding_changes_its_key() -> None:
    encoder = TextEncoder("text_1", text, "weights", "fp32")
    changes: list[dict[str, Any]] = [
        {"part": "text_2"}, {"fingerprint": "other"}, {"dtype": "fp16"}, {"layer_skip": 1}, {"batch_size": 4},
        {"max_token_length": 150}, {"weighted_prompts": True},
    ]  # fmt: skip
    assert {name for change in changes for name in change} | {"encode"} == {
        field.name for field in dataclasses.fields(TextEncoder)
    }
    keys = [encoder.key("cat"), encoder.key("dog"), encoder.key("")]
    keys += [dataclasses.replace(encoder, **change).key("cat") for change in changes]
    assert len(set(keys)) == len(keys)


def test_the_parts_of_a_key_do_not_run_into_each_other() -> None:
    assert encoders.digest("ab", "c") != encoders.digest("a", "bc")
    assert encoders.digest("1") != encoders.digest(1)


def test_every_call_gets_a_full_batch() -> None:
    calls = []

    def encode(pixels: torch.Tensor) -> torch.Tensor:
        calls.append(len(pixels))
        return pixels[:, :1, ::8, ::8] * 2

    pictures = [Pixels(torch.full((3, 64, 96), float(index)), None, None) for index in range(5)]
    found = encode_pictures(pictures, [SHOWN] * 5, images(encode=encode, batch_size=2))
    assert calls == [2, 2, 2]
    assert [one.keys() for one in found] == [{"latents"}] * 5
    assert [float(one["latents"].mean()) for one in found] == [0, 2, 4, 6, 8]
    assert found[0]["latents"].shape == (1, 8, 12)
    captions = encode_captions(["a", "bb", "ccc"], TextEncoder("text_1", text, "", "fp32", batch_size=2))
    assert [one["hidden"].tolist() for one in captions] == [[1, 2], [2, 2], [3, 2]]


def test_masks_and_what_an_inpainting_model_is_shown_come_along() -> None:
    mask = torch.zeros(1, 16, 16)
    mask[:, :, :4] = 1
    picture, drawn = torch.full((3, 16, 16), 0.5), torch.full((3, 16, 16), -1.0)
    encoder = images(encode=lambda pixels: pixels[:, :, ::8, ::8], inpainting=True)
    pictures = [Pixels(picture, mask, None), Pixels(picture, None, None), Pixels(picture, mask, drawn)]
    masked, whole, given = encode_pictures(pictures, [SHOWN] * 3, encoder)
    assert masked["mask"].tolist() == [[[0.5, 0.0], [0.5, 0.0]]]
    assert masked["conditioning"][0].tolist() == [[0.0, 0.5], [0.0, 0.5]]
    assert "mask" not in whole and whole["conditioning"].abs().max() == 0
    assert given["conditioning"].unique().tolist() == [-1.0]
    assert all(one["latents"].unique().tolist() == [0.5] for one in (masked, whole, given))


def test_values_that_are_not_finite_are_an_error_that_names_the_picture() -> None:
    pictures = [Pixels(torch.zeros(3, 8, 8), None, None), Pixels(torch.ones(3, 8, 8), None, None)]
    with pytest.raises(TrainingError, match=r"for a/cat\.png\. .*fp16"):
        encode_pictures(pictures, [SHOWN, shown({"name": "fine.png"})], images(encode=lambda p: p / p, dtype="fp16"))
