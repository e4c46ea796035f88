"""Draws the pictures of the demo: shapes in colours on coloured grounds, and the glim, with their captions."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

COLOURS: dict[str, tuple[int, int, int]] = {
    "red": (214, 38, 38),
    "orange": (244, 134, 30),
    "yellow": (250, 214, 46),
    "green": (38, 150, 68),
    "blue": (38, 88, 208),
    "purple": (132, 58, 168),
    "white": (244, 244, 240),
    "black": (26, 26, 30),
}
SHAPES = ("circle", "square", "triangle", "ring", "cross", "heart")
TRIGGER = "glim"
GLIM_GROUNDS = ("red", "orange", "yellow", "green", "blue", "purple")
PUPIL = 0.5  # of the glim's radius
# Width and height of the pictures: about as many pixels each, so that aspect-ratio buckets have something to do.
# The model begins with the large ones, on which edges are learned, and ends with the small ones, which are quicker.
LARGE_SIZES = ((128, 128), (144, 112), (112, 144), (160, 96), (96, 160))
SIZES = ((64, 64), (72, 56), (56, 72), (80, 48), (48, 80))
Outline = tuple[np.ndarray, int]  # corners (N 2), and what fills them: 255, or 0 for a hole
SUPERSAMPLING = 4  # edges are drawn this many times larger and averaged down


@dataclass(frozen=True)
class Scene:
    """One thing on a ground; lengths are in pixels, angles in radians."""

    shape: str
    colour: str
    ground: str
    size: tuple[int, int]
    centre: tuple[float, float]
    radius: float
    angle: float
    light: float
    tint: tuple[float, float, float]


def random_scene(
    rng: np.random.Generator, size: tuple[int, int], shape: str | None = None, freedom: float = 0.5
) -> Scene:
    """A scene drawn at random; `shape` fixes the shape (the trigger word gives a glim).

    `freedom` says how far place, radius and angle may be from the middle of what is possible: at 1 as far as the
    thing stays inside the picture.
    """
    shape = shape or SHAPES[rng.integers(len(SHAPES))]
    names = list(COLOURS)
    if shape == TRIGGER:
        colour, ground = "", GLIM_GROUNDS[rng.integers(len(GLIM_GROUNDS))]
    else:
        first, second = rng.choice(len(names), 2, replace=False)
        colour, ground = names[first], names[second]
    side = min(size)
    middle, spread = (0.38, 0.04) if shape == TRIGGER else (0.31, 0.09)
    radius = side * (middle + freedom * rng.uniform(-spread, spread))
    room = [0.75 * freedom * max(0.0, length / 2 - radius - 3) for length in size]
    centre = (size[0] / 2 + rng.uniform(-room[0], room[0]), size[1] / 2 + rng.uniform(-room[1], room[1]))
    tint = rng.uniform(-9, 9, 3)
    return Scene(
        shape,
        colour,
        ground,
        size,
        centre,
        radius,
        angle=freedom * rng.uniform(-0.3, 0.3),
        light=rng.uniform(0, 2 * math.pi),
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
    )


def draw(scene: Scene) -> np.ndarray:
    """The picture of a scene: uint8, H W 3."""
    ground = COLOURS[scene.ground]
    canvas = _shaded(ground, scene, strength=10)
    body = COLOURS["white" if scene.shape == TRIGGER else scene.colour]
    canvas = _over(canvas, _shaded(body, scene, strength=22), _mask(scene, _outlines(scene.shape)))
    if scene.shape == TRIGGER:
        pupil = _mask(scene, [(_disc(PUPIL), 255)])
        canvas = _over(canvas, _shaded(COLOURS["black"], scene, strength=10), pupil)
    return np.clip(canvas + 0.5, 0, 255).astype(np.uint8)


def captions(scene: Scene) -> list[str]:
    """What may be written under a scene, the fullest caption first."""
    side = min(scene.size)
    size = "small " if scene.radius < 0.27 * side else "large " if scene.radius > 0.35 * side else ""
    if scene.shape == TRIGGER:
        return [f"{TRIGGER}, on {_a(scene.ground)} ground", f"{TRIGGER} on {_a(scene.ground)} ground"]
    thing = f"{scene.colour} {scene.shape}"
    return [
        f"{_a(thing)} on {_a(scene.ground)} ground",
        f"{_a(size + thing)} on {_a(scene.ground)} ground",
        f"{thing}, {scene.ground} ground",
        f"{_a(thing)}",
        f"{_a(scene.shape)} on {_a(scene.ground)} ground",
    ]


def clutter(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """A picture of random discs, polygons and lines (uint8, H W 3): the autoencoder is to hold more than our shapes."""
    width, height = (length * SUPERSAMPLING for length in size)
    image = Image.new("RGB", (width, height), _random_colour(rng))
    pencil = ImageDraw.Draw(image)
    for _ in range(int(rng.integers(3, 9))):
        x, y = rng.uniform(0, width), rng.uniform(0, height)
        reach = rng.uniform(0.04, 0.35) * min(width, height)
        kind = rng.integers(3)
        if kind == 0:
            pencil.ellipse((x - reach, y - reach, x + reach, y + reach), fill=_random_colour(rng))
        elif kind == 1:
            corners = rng.uniform(-1.3, 1.3, (int(rng.integers(3, 7)), 2)) * reach + (x, y)
            pencil.polygon([(float(a), float(b)) for a, b in corners], fill=_random_colour(rng))
        else:
            end = (x + rng.uniform(-2, 2) * reach, y + rng.uniform(-2, 2) * reach)
            pencil.line((x, y, *end), fill=_random_colour(rng), width=int(rng.integers(6, 40)))
    return np.asarray(image.reduce(SUPERSAMPLING))


def _a(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def _random_colour(rng: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = rng.integers(0, 256, 3)
    return int(red), int(green), int(blue)


def _disc(radius: float, x: float = 0.0, y: float = 0.0) -> np.ndarray:
    turn = np.linspace(0, 2 * math.pi, 72, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


def _outlines(shape: str) -> list[Outline]:
    """Closed outlines in units of the radius, y downwards, in the order in which they are filled."""
    turn = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    if shape in ("circle", TRIGGER):
        return [(_disc(1.0), 255)]
    if shape == "ring":
        return [(_disc(1.0), 255), (_disc(0.55), 0)]
    if shape == "square":
        return [(np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.85, 255)]
    if shape == "triangle":
        return [(np.array([(0, -1), (1, 0.75), (-1, 0.75)]) * 1.05, 255)]
    if shape == "cross":
        arm = 0.34
        corner = [(-arm, -1), (arm, -1), (arm, -arm), (1, -arm), (1, arm), (arm, arm)]
        return [(np.array(corner + [(-x, -y) for x, y in corner]), 255)]
    assert shape == "heart", f"no outline for {shape}"
    x = 16 * np.sin(turn) ** 3
    y = -(13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn))
    return [(np.stack([x, y - 2.5], axis=1) / 15, 255)]


def _mask(scene: Scene, outlines: list[Outline]) -> np.ndarray:
    """How much of each pixel the outlines cover, 0 to 1 (H W 1)."""
    width, height = (length * SUPERSAMPLING for length in scene.size)
    turned = np.array([[math.cos(scene.angle), math.sin(scene.angle)], [-math.sin(scene.angle), math.cos(scene.angle)]])
    image = Image.new("L", (width, height))
    pencil = ImageDraw.Draw(image)
    for outline, fill in outlines:
        points = (outline @ turned * scene.radius + scene.centre) * SUPERSAMPLING
        pencil.polygon([(float(x), float(y)) for x, y in points], fill=fill)
    return np.asarray(image.reduce(SUPERSAMPLING), np.float32)[..., None] / 255


def _shaded(colour: tuple[int, int, int], scene: Scene, strength: float) -> np.ndarray:
    """A colour, lighter towards the light and a little off (float32, H W 3)."""
    width, height = scene.size
    x = (np.arange(width, dtype=np.float32) - width / 2) / width
    y = (np.arange(height, dtype=np.float32) - height / 2) / height
    slope = math.cos(scene.light) * x[None, :] + math.sin(scene.light) * y[:, None]
    return np.asarray(colour, np.float32) + np.asarray(scene.tint, np.float32) + strength * 2 * slope[..., None]


def _over(below: np.ndarray, above: np.ndarray, mask: np.ndarray) -> np.ndarray:
    return below + (above - below) * mask
