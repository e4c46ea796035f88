"""Tests of the demo: how its pictures are drawn and captioned, its tokenizer, and the folder as it is committed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from scripts.demo_model.folders import write_folder
from scripts.demo_model.pictures import (
    COLOURS,
    GLIM_GROUNDS,
    SHAPES,
    SIZES,
    TRIGGER,
    Scene,
    captions,
    clutter,
    draw,
    random_scene,
)

DEMO = Path(__file__).resolve().parents[2] / "demo"


def scene_of(shape: str, colour: str = "red", ground: str = "blue", radius: float = 40) -> Scene:
    return Scene(shape, colour, ground, (128, 128), (64, 64), radius, 0.0, 0.0, (0, 0, 0))


def near(pixel: np.ndarray, colour: tuple[int, int, int], distance: float = 40) -> bool:
    return float(np.abs(pixel.astype(float) - colour).max()) <= distance


def share_of(picture: np.ndarray, colour: tuple[int, int, int]) -> float:
    """The part of the pixels that are nearer than 40 to a colour."""
    return float((np.abs(picture.astype(float) - colour).max(axis=-1) <= 40).mean())


@pytest.mark.parametrize(
    ("shape", "area"),
    [
        ("circle", np.pi),
        ("square", 1.7**2),
        ("triangle", 0.5 * 2.1 * 1.05 * 1.75),
        ("ring", np.pi * (1 - 0.55**2)),
        ("cross", 4 * 0.34 * 2 - (2 * 0.34) ** 2),
    ],
)
def test_a_shape_covers_its_area(shape: str, area: float) -> None:
    assert share_of(draw(scene_of(shape)), COLOURS["red"]) == pytest.approx(area * 40**2 / 128**2, rel=0.05)


def test_the_shape_has_its_colour_and_the_ground_its_own() -> None:
    for shape in SHAPES:
        for colour in COLOURS:
            ground = "white" if colour == "black" else "black"
            picture = draw(scene_of(shape, colour, ground))
            inside = picture[64, 64] if shape != "ring" else picture[64, 64 + 31]
            assert near(inside, COLOURS[colour]), (shape, colour)
            assert near(picture[2, 2], COLOURS[ground]), (shape, ground)
    assert near(draw(scene_of("ring"))[64, 64], COLOURS["blue"])


def test_shapes_differ_by_more_than_their_size() -> None:
    masks = {shape: share_mask(shape) for shape in SHAPES}
    for first in masks:
        for second in masks:
            if first != second:
                assert (masks[first] != masks[second]).mean() > 0.02, (first, second)


def share_mask(shape: str) -> np.ndarray:
    return np.abs(draw(scene_of(shape)).astype(int) - COLOURS["blue"]).max(axis=-1) > 40


def test_edges_are_smooth() -> None:
    row = draw(scene_of("circle", "white", "black"))[40, :, 0]
    assert ((row > 60) & (row < 210)).any()


def test_a_glim_is_a_white_disc_with_a_black_pupil() -> None:
    picture = draw(scene_of(TRIGGER, ""))
    assert near(picture[64, 64], COLOURS["black"])
    assert near(picture[64, 64 + 30], COLOURS["white"])
    assert share_of(picture, COLOURS["black"]) == pytest.approx(math.pi * 20**2 / 128**2, rel=0.05)


def test_random_scenes_repeat_and_stay_inside_the_picture() -> None:
    for index in range(200):
        size = SIZES[index % len(SIZES)]
        scene = random_scene(np.random.default_rng(index), size)
        assert scene == random_scene(np.random.default_rng(index), size)
        assert scene.ground != scene.colour
        for place, length in zip(scene.centre, size, strict=True):
            assert scene.radius < place < length - scene.radius
    picture = draw(scene)
    assert picture.shape == (scene.size[1], scene.size[0], 3)
    assert picture.dtype == np.uint8


def test_captions_name_what_is_seen() -> None:
    assert captions(scene_of("square", "orange", "white", 30))[0] == "an orange square on a white ground"
    assert captions(scene_of("square", "orange", "white", 30))[1] == "a small orange square on a white ground"
    assert captions(scene_of("ring", "red", "orange", 50))[1] == "a large red ring on an orange ground"
    rng = np.random.default_rng(0)
    for _ in range(50):
        glim = random_scene(rng, (128, 128), TRIGGER)
        assert glim.ground in GLIM_GROUNDS
        assert captions(glim)[0] == f"{TRIGGER}, on {'an' if glim.ground == 'orange' else 'a'} {glim.ground} ground"
        assert not any(TRIGGER in caption for caption in captions(random_scene(rng, (128, 128))))


def test_clutter_has_several_colours() -> None:
    picture = clutter(np.random.default_rng(3), (96, 160))
    assert picture.shape == (160, 96, 3)
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 4


def test_a_folder_has_a_caption_beside_each_picture(tmp_path: Path) -> None:
    write_folder(tmp_path / "new", 6, SHAPES, np.random.default_rng(0))
    assert [path.name for path in sorted(tmp_path.glob("new/*.png"))] == sorted(
        f"{shape}_{index + 1:02d}.png" for index, shape in enumerate(SHAPES)
    )
    for path in tmp_path.glob("new/*.png"):
        assert path.stem.split("_")[0] in path.with_suffix(".txt").read_text(encoding="utf-8")


def test_each_word_of_the_captions_is_one_token() -> None:
    from scripts.demo_model.tokenizer import END_OF_WORD, WORDS, make_tokenizer

    tokenizer = make_tokenizer()
    for word in WORDS:
        assert tokenizer.tokenize(word) == [word + END_OF_WORD]
    scenes = (random_scene(np.random.default_rng(index), SIZES[0]) for index in range(50))
    for caption in (caption for scene in scenes for caption in captions(scene)):
        assert len(tokenizer.tokenize(caption)) == len(caption.replace(",", " ,").split()), caption


@pytest.mark.parametrize("text", ["glim", "zebra crossing", "grün", "猫", "x-ray #7!"])
def test_unknown_words_come_out_as_pieces_and_come_back(text: str) -> None:
    from scripts.demo_model.tokenizer import make_tokenizer

    tokenizer = make_tokenizer()
    ids = tokenizer(text).input_ids
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert tokenizer.eos_token_id not in ids[1:-1]
    assert tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "") == text.replace(" ", "")


def test_the_committed_pictures() -> None:
    for name, number, trigger in (
        ("pictures", 20, True),
        ("regularisation", 24, False),
        ("held_out/glim", 8, True),
        ("held_out/shapes", 8, False),
    ):
        pictures = sorted((DEMO / name).glob("*.png"))
        assert len(pictures) == number, name
        assert len(list((DEMO / name).iterdir())) == 2 * number, name
        for path in pictures:
            caption = path.with_suffix(".txt").read_text(encoding="utf-8")
            assert (TRIGGER in caption) == trigger, path
            assert Image.open(path).mode == "RGB"
    assert len({Image.open(path).size for path in (DEMO / "pictures").glob("*.png")}) >= 3


def test_no_held_out_picture_is_trained_on() -> None:
    drawn = [path.read_bytes() for path in DEMO.rglob("*.png")]
    assert len(set(drawn)) == len(drawn)


def test_the_committed_model_is_a_small_sd15() -> None:
    files = [path for path in DEMO.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 12e6
    assert sum(path.stat().st_size for path in (DEMO / "model").rglob("*") if path.is_file()) <= 10e6
    vae, unet, scheduler = (
        json.loads((DEMO / "model" / name).read_text(encoding="utf-8"))
        for name in ("vae/config.json", "unet/config.json", "scheduler/scheduler_config.json")
    )
    assert (vae["latent_channels"], len(vae["block_out_channels"])) == (4, 4)
    assert unet["_class_name"] == "UNet2DConditionModel"
    assert min(unet["block_out_channels"]) > unet["norm_num_groups"]
    assert (scheduler["beta_schedule"], scheduler["prediction_type"]) == ("scaled_linear", "epsilon")


def test_the_committed_model_tells_no_path_of_its_maker() -> None:
    assert not [path for path in DEMO.rglob("*.json") if "_name_or_path" in path.read_text(encoding="utf-8")]


@pytest.mark.slow
def test_the_committed_model_draws_what_the_prompt_says() -> None:
    import torch

    from scripts.demo_model.measuring import denoising_loss, sample
    from scripts.demo_model.networks import load_pipeline

    torch.set_num_threads(1)
    pipeline = load_pipeline(DEMO / "model")
    prompts = ("a red circle on a blue ground", "a yellow square on a black ground", "a white heart on a green ground")
    for prompt, picture in zip(prompts, sample(pipeline, prompts, seed=5), strict=True):
        pixels, words = np.asarray(picture), prompt.split()
        assert share_of(pixels, COLOURS[words[1]]) > 0.05, prompt
        assert share_of(pixels, COLOURS[words[5]]) > 0.3, prompt
    assert denoising_loss(pipeline, DEMO / "held_out" / "shapes", draws=4) < 0.2
