"""Colour changes follow the formulas of Pillow and of Python's own colorsys."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image, ImageEnhance

from core.contracts import Size
from core.dataset.augment import recoloured
from core.dataset.views import View

FACTORS = [0.0, 0.5, 0.9, 1.1, 2.0]


def view(**changes: float) -> View:
    return View(Size(32, 32), **changes)  # type: ignore[arg-type]


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8))


def values(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


def test_a_plain_view_leaves_the_picture_alone(picture: Image.Image) -> None:
    assert recoloured(picture, view()) is picture


@pytest.mark.parametrize("factor", FACTORS)
def test_brightness_contrast_and_saturation_are_pillows(picture: Image.Image, factor: float) -> None:
    kinds = {"brightness": ImageEnhance.Brightness, "contrast": ImageEnhance.Contrast, "saturation": ImageEnhance.Color}
    for name, kind in kinds.items():
        expected = values(kind(picture).enhance(factor))
        assert (values(recoloured(picture, view(**{name: factor}))) == expected).all(), name


@pytest.mark.parametrize("factor", FACTORS)
def test_brightness_is_a_product(picture: Image.Image, factor: float) -> None:
    exact = np.clip(values(picture) * factor, 0, 255)
    assert np.abs(values(recoloured(picture, view(brightness=factor))) - exact).max() <= 1


@pytest.mark.parametrize("factor", FACTORS)
def test_saturation_is_the_distance_from_luma(picture: Image.Image, factor: float) -> None:
    luma = values(picture) @ [0.299, 0.587, 0.114]
    exact = np.clip(luma[..., None] + factor * (values(picture) - luma[..., None]), 0, 255)
    assert np.abs(values(recoloured(picture, view(saturation=factor))) - exact).max() <= 2


@pytest.mark.parametrize("share", [-0.5, -0.1, 0.003, 0.1, 1 / 3, 0.5])
def test_hue_is_that_of_colorsys(picture: Image.Image, share: float) -> None:
    image = picture.copy()
    for index, grey in enumerate((0, 128, 255)):
        image.putpixel((index, 0), (grey, grey, grey))
    image.putpixel((3, 0), (200, 200, 10))
    got = values(recoloured(image, view(hue=share))).reshape(-1, 3)
    for before, after in zip(values(image).reshape(-1, 3), got, strict=True):
        hue, saturation, value = colorsys.rgb_to_hsv(*before / 255)
        exact = np.array(colorsys.hsv_to_rgb((hue + share) % 1, saturation, value)) * 255
        assert np.abs(after - exact).max() <= 0.51


def test_a_third_of_the_circle_turns_red_into_green_and_back(picture: Image.Image) -> None:
    assert recoloured(Image.new("RGB", (1, 1), "red"), view(hue=1 / 3)).getpixel((0, 0)) == (0, 255, 0)
    there_and_back = recoloured(recoloured(picture, view(hue=0.5)), view(hue=-0.5))
    assert np.abs(values(there_and_back) - values(picture)).max() <= 1


def test_all_together_come_one_after_another(picture: Image.Image) -> None:
    steps = picture
    for name, amount in {"brightness": 1.2, "contrast": 0.7, "saturation": 1.4, "hue": 0.2}.items():
        steps = recoloured(steps, view(**{name: amount}))
    together = recoloured(picture, view(brightness=1.2, contrast=0.7, saturation=1.4, hue=0.2))
    assert (values(together) == values(steps)).all()


def test_what_belongs_to_a_picture_stays_equal_to_it(picture: Image.Image) -> None:
    """A half that was covered with grey doesn't change how the other half comes out."""
    covered = picture.copy()
    covered.paste((10, 10, 10), (0, 0, 32, 16))
    change = view(brightness=1.3, contrast=1.5, saturation=0.5, hue=0.1)
    own, beside = values(recoloured(picture, change)), values(recoloured(covered, change, like=picture))
    assert (own[16:] == beside[16:]).all()
    assert (own[16:] != values(recoloured(covered, change))[16:]).any()
