"""Every kind of picture becomes the right RGB, or an error that names it; the crop that is told is the true one."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from core.contracts import Framing, Size
from core.dataset.formats import suffixes
from core.dataset.manifest import Entry, Tile
from core.dataset.pictures import decode, fit, fit_mask, framing, load_picture, resized_size, turned_size
from core.dataset.views import View
from core.errors import PictureError


def noise(width: int = 40, height: int = 30) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8))


def data_of(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def colours(picture: Image.Image) -> np.ndarray:
    assert picture.mode == "RGB"
    return np.asarray(picture).astype(int)


@pytest.mark.parametrize("suffix", sorted(suffixes() & set(Image.registered_extensions())))
def test_each_named_format_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix.upper()}"
    mode = "L" if suffix == ".pgm" else "RGB"
    noise().convert(mode).save(path)
    picture = load_picture(path)
    assert picture.size == (40, 30)
    assert picture.mode == "RGB"


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees clockwise to be upright
    image = Image.new("RGB", (40, 30), "blue")
    image.paste("red", (0, 0, 20, 30))
    image.save(tmp_path / "a.png", exif=exif)
    picture = load_picture(tmp_path / "a.png")
    assert picture.size == (30, 40)
    assert picture.getpixel((5, 5)) == (255, 0, 0)
    assert picture.getpixel((5, 35)) == (0, 0, 255)


def test_transparent_parts_become_white_and_are_told() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 10, 20))
    decoded = decode(data_of(image, "PNG"), "a.png")
    assert decoded.picture.getpixel((15, 5)) == (255, 255, 255)
    assert decoded.picture.getpixel((5, 5)) == (255, 127, 127)
    assert "white" in decoded.converted


def test_an_alpha_channel_that_hides_nothing_is_not_told() -> None:
    decoded = decode(data_of(noise().convert("RGBA"), "PNG"), "a.png")
    assert (colours(decoded.picture) == colours(noise())).all()
    assert decoded.converted == ""


def test_a_transparent_palette() -> None:
    image = Image.new("P", (20, 20), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    image.paste(0, (0, 0, 10, 20))
    decoded = decode(data_of(image, "PNG", transparency=0), "a.png")
    assert decoded.picture.getpixel((5, 5)) == (255, 255, 255)
    assert decoded.picture.getpixel((15, 5)) == (10, 200, 30)


def test_grey_with_transparency() -> None:
    decoded = decode(data_of(Image.new("LA", (20, 20), (100, 0)), "PNG"), "a.png")
    assert decoded.picture.getpixel((5, 5)) == (255, 255, 255)


@pytest.mark.parametrize(("mode", "value"), [("L", 90), ("1", 255), ("P", None)])
def test_grey_and_palette_pictures_keep_their_look(mode: str, value: int | None) -> None:
    image = Image.new(mode, (20, 20), value) if value else noise().quantize(16)
    decoded = decode(data_of(image, "PNG"), "a.png")
    assert (colours(decoded.picture) == colours(image.convert("RGB"))).all()
    assert decoded.converted == ""


RAMP = (np.arange(64 * 64).reshape(64, 64) * 16).astype(np.uint16)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A part of a PNG file."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_of_16_bits(values: np.ndarray) -> bytes:
    """An RGB PNG of 16 bits, which Pillow reads but can't write."""
    height, width = values.shape
    rows = b"".join(b"\0" + np.stack([row] * 3, -1).astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    "data",
    [
        data_of(Image.fromarray(RAMP), "PNG"),
        data_of(Image.fromarray(RAMP), "TIFF"),
        data_of(Image.fromarray(RAMP), "TIFF", compression="tiff_lzw"),
        data_of(Image.fromarray(RAMP.astype(np.int32)), "TIFF"),
        b"P5 64 64 65535\n" + RAMP.astype(">u2").tobytes(),
        png_of_16_bits(RAMP),
        data_of(Image.fromarray((RAMP / 65535).astype(np.float32)), "TIFF"),
    ],
    ids=["png", "tiff", "lzw", "tiff of 32", "pgm", "rgb", "float"],
)
def test_more_than_8_bits_are_scaled_not_clipped(data: bytes) -> None:
    decoded = decode(data, "a")
    exact = RAMP[..., None] / 65535 * 255
    assert np.abs(colours(decoded.picture) - exact).max() <= 1.01
    assert "8" in decoded.converted


def test_floats_beyond_one_are_refused() -> None:
    with pytest.raises(PictureError, match=r"a\.tif.*beyond 1"):
        decode(data_of(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "a.tif")


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk(kind: str) -> None:
    image = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    decoded = decode(data_of(image, kind), "a")
    assert np.abs(colours(decoded.picture)[16, 16] - [255, 0, 0]).max() <= 3
    assert "CMYK" in decoded.converted


def test_cmyk_with_a_profile_that_is_none() -> None:
    decoded = decode(data_of(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF", icc_profile=b"nonsense"), "a")
    assert decoded.picture.getpixel((5, 5)) == (255, 0, 0)


def test_cmyk_with_the_profile_of_another_kind_of_picture() -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decode(data_of(Image.new("CMYK", (32, 32), (0, 255, 255, 0)), "TIFF", icc_profile=profile), "a")
    assert decoded.picture.getpixel((5, 5)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_taken(kind: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode(data_of(frames[0], kind, save_all=True, append_images=frames[1:], **options), "a")
    assert decoded.picture.getpixel((5, 5)) == (255, 0, 0)
    assert "first frame" in decoded.converted


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF"])
@pytest.mark.parametrize("share", [0.001, 0.3, 0.9])
def test_a_cut_off_file_is_an_error_that_names_it(kind: str, share: float, tmp_path: Path) -> None:
    data = data_of(noise(200, 150), kind)
    path = tmp_path / "half.png"
    path.write_bytes(data[: max(1, int(len(data) * share))])
    with pytest.raises(PictureError, match=r"half\.png"):
        load_picture(path)


def test_bytes_changed_in_the_middle(tmp_path: Path) -> None:
    data = bytearray(data_of(noise(200, 150), "PNG"))
    data[3000:3100] = bytes(100)
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(PictureError, match=r"a\.png is broken"):
        load_picture(tmp_path / "a.png")


def test_a_picture_of_a_phone(tmp_path: Path) -> None:
    """HEIC, as iPhones write it: turned and, if it is one of 10 bits, scaled, which is told."""
    pillow_heif = pytest.importorskip("pillow_heif")
    image = Image.new("RGB", (64, 32), "blue")
    image.paste("red", (0, 0, 32, 32))
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "IMG_0001.HEIC"
    pillow_heif.from_pillow(image).save(path, quality=-1, exif=exif.tobytes())
    decoded = decode(path.read_bytes(), path)
    assert decoded.picture.size == (32, 64)
    assert np.abs(colours(decoded.picture)[5, 5] - [255, 0, 0]).max() <= 3
    assert decoded.converted == ""
    deep = pillow_heif.from_bytes(mode="RGB;16", size=(64, 64), data=np.stack([RAMP] * 3, -1).tobytes())
    deep.save(tmp_path / "deep.heic", quality=-1)
    decoded = decode((tmp_path / "deep.heic").read_bytes(), "deep.heic")
    assert np.abs(colours(decoded.picture) - RAMP[..., None] / 65535 * 255).max() <= 2
    assert decoded.converted == "10 bits per colour: scaled to 8"


def test_alpha_is_laid_on_the_chosen_colour_and_kept() -> None:
    image = Image.new("RGBA", (20, 20), (0, 0, 0, 0))
    image.paste((255, 0, 0, 128), (0, 0, 10, 20))
    decoded = decode(data_of(image, "PNG"), "a.png", "#00ff00")
    assert decoded.picture.getpixel((15, 5)) == (0, 255, 0)
    assert decoded.picture.getpixel((5, 5)) == (128, 127, 0)
    assert decoded.converted == "transparent: laid on #00ff00"
    assert decoded.alpha is not None
    assert decoded.alpha.mode == "L"
    assert [decoded.alpha.getpixel((x, 5)) for x in (5, 15)] == [128, 0]


def test_an_empty_file_a_text_and_nothing_at_all(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(PictureError, match=r"empty\.png is empty"):
        load_picture(tmp_path / "empty.png")
    with pytest.raises(PictureError, match=r"text\.png is no picture"):
        load_picture(tmp_path / "text.png")
    with pytest.raises(PictureError, match=r"gone\.png"):
        load_picture(tmp_path / "gone.png")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_decompression_bomb(tmp_path: Path) -> None:
    """Few bytes that say that they are a huge picture; those of a size that is allowed are only broken.

    Twice, because large ones are decoded one after the other: the first must not hold up the second.
    """
    allowed, forbidden = (20_000, "is broken or cut off"), ((30_000, "is too large"), (60_000, "is too large"))
    for side, reason in (*forbidden, allowed, allowed):
        head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
        chunks = (chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(b"\0" * 1000)), chunk(b"IEND", b""))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
        with pytest.raises(PictureError, match=rf"bomb\.png {reason}"):
            load_picture(tmp_path / "bomb.png")


def test_postscript_under_another_name_is_not_run(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    with pytest.raises(PictureError, match="no picture"):
        load_picture(tmp_path / "a.png")


def entry_of(width: int, height: int, tile: Tile | None = None) -> Entry:
    return Entry("a.png", "", width, height, (), 0, (), "a.png", tile=tile)


def shown(picture: Image.Image, view: View, tile: Tile | None = None) -> torch.Tensor:
    return fit(picture, entry_of(*picture.size, tile), view)


def test_framing_tells_the_true_crop() -> None:
    """kohya's trainer tells top 10, left 0 for this picture; what is cut is 16 columns on the left."""
    told = framing(entry_of(1500, 1000), View(Size(height=832, width=1216)))
    assert told.crop == (0, 16)
    assert told.original == (1000, 1500)
    assert told.target == (832, 1216)


sides = st.integers(16, 3000)
bucket_sides = st.integers(1, 40).map(lambda n: n * 32)


@given(sides, sides, bucket_sides, bucket_sides)
def test_a_resized_picture_just_covers_its_bucket(
    width: int, height: int, bucket_width: int, bucket_height: int
) -> None:
    bucket = Size(height=bucket_height, width=bucket_width)
    size = resized_size(Size(height=height, width=width), bucket)
    assert size.height >= bucket.height
    assert size.width >= bucket.width
    assert size.height == bucket.height or size.width == bucket.width
    top, left = framing(entry_of(width, height), View(bucket)).crop
    assert 0 <= top <= size.height - bucket.height
    assert 0 <= left <= size.width - bucket.width


def test_fit_cuts_what_it_tells() -> None:
    """Each column of the picture has its own grey, so that one sees in the result which are left."""
    columns = np.broadcast_to(np.arange(101, dtype=np.uint8)[None, :, None] * 2, (64, 101, 3))
    bucket = Size(height=64, width=64)
    picture = Image.fromarray(np.ascontiguousarray(columns))
    for flip in (False, True):
        view = View(bucket, flip)
        whole = columns[:, ::-1] if flip else columns
        top, left = framing(entry_of(101, 64), view).crop
        expected = whole[top : top + 64, left : left + 64] / 127.5 - 1
        assert np.abs(shown(picture, view).permute(1, 2, 0).numpy() - expected).max() < 1e-6


def test_fit_gives_floats_from_minus_one_to_one() -> None:
    image = Image.new("RGB", (100, 60), "black")
    image.paste("white", (50, 0, 100, 60))
    pixels = shown(image, View(Size(height=64, width=96)))
    assert pixels.shape == (3, 64, 96)
    assert pixels.dtype == torch.float32
    assert pixels.min() == -1
    assert pixels.max() == 1


def test_a_mirrored_picture_is_the_mirror_image() -> None:
    bucket = Size(height=64, width=64)
    picture = noise(150, 90)
    assert torch.equal(shown(picture, View(bucket)).flip(2), shown(picture, View(bucket, flip=True)))


angles = st.one_of(st.floats(-180, 180), st.sampled_from([-180, -90, -45, 0, 45, 90, 180]))
places = st.tuples(st.floats(0, 1), st.floats(0, 1))
small_sides = st.integers(16, 400)
small_buckets = st.builds(
    Size, height=st.integers(2, 12).map(lambda n: n * 8), width=st.integers(2, 12).map(lambda n: n * 8)
)
views = st.builds(View, bucket=small_buckets, flip=st.booleans(), angle=angles, place=places)


@given(small_sides, small_sides, views)
def test_nothing_outside_of_the_picture_is_shown(width: int, height: int, view: View) -> None:
    """What lies outside would come out black."""
    white = Image.new("RGB", (width, height), "white")
    assert (shown(white, view) == 1).all()
    assert (fit_mask(Image.new("L", (width, height), 255), entry_of(width, height), view) == 1).all()


@given(st.integers(16, 3000), st.integers(16, 3000), views)
def test_the_told_crop_lies_in_the_resized_picture(width: int, height: int, view: View) -> None:
    told = framing(entry_of(width, height), view)
    box = turned_size(view.bucket, view.angle)
    scaled = resized_size(Size(height=height, width=width), box)
    assert 0 <= told.crop[0] <= scaled.height - box.height
    assert 0 <= told.crop[1] <= scaled.width - box.width


def smooth(width: int, height: int) -> Image.Image:
    """Red grows to the right, green downwards: a colour tells the place that it is from."""
    across, down = np.meshgrid((np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height)
    return Image.fromarray((np.stack([across, down, 0 * down], -1) * 255 + 0.5).astype(np.uint8))


@pytest.mark.parametrize("angle", [0, 10, -30, 90, 180, -90, 135])
@pytest.mark.parametrize("flip", [False, True])
def test_each_pixel_comes_from_where_it_should(angle: float, flip: bool) -> None:
    """Against the rotation of the plane, in float64: counter-clockwise, where y points down, after mirroring."""
    view = View(Size(height=64, width=96), flip=flip, angle=angle, place=(0.2, 0.9))
    width, height = 300, 260
    pixels = (shown(smooth(width, height), view).double().numpy() + 1) / 2
    told = framing(entry_of(width, height), view)
    box, scaled = turned_size(view.bucket, angle), resized_size(Size(height, width), turned_size(view.bucket, angle))
    left = scaled.width - box.width - told.crop[1] if flip else told.crop[1]
    radians = np.radians(angle)
    x, y = np.meshgrid(np.arange(96) + 0.5 - 48, np.arange(64) + 0.5 - 32)
    from_x, from_y = x * np.cos(radians) - y * np.sin(radians), x * np.sin(radians) + y * np.cos(radians)
    across = (left + box.width / 2 + (-from_x if flip else from_x)) / scaled.width
    down = (told.crop[0] + box.height / 2 + from_y) / scaled.height
    assert np.abs(pixels[0] - across).max() < 3 / 255
    assert np.abs(pixels[1] - down).max() < 3 / 255


def test_a_turn_agrees_with_pillows_own() -> None:
    picture, side = noise(128, 128), turned_size(Size(64, 64), 30).width
    turned = colours(picture.resize((side, side), Image.Resampling.LANCZOS).rotate(30, Image.Resampling.BICUBIC))
    start = (side - 64) // 2
    got = shown(picture, View(Size(64, 64), angle=30)).permute(1, 2, 0).numpy() * 127.5 + 127.5
    assert side == 88
    assert np.abs(got - turned[start : start + 64, start : start + 64]).max() < 1.01


@pytest.mark.parametrize("quarters", [1, 2, 3, -1, 4])
def test_quarter_turns_lose_nothing(quarters: int) -> None:
    picture = noise(64, 64)
    turned = shown(picture, View(Size(64, 64), angle=90.0 * quarters))
    assert torch.equal(turned, torch.rot90(shown(picture, View(Size(64, 64))), quarters, (1, 2)))


def test_crop_jitter_reaches_every_place() -> None:
    """In eleven columns of spare there are twelve places, each for a twelfth of the draws."""
    entry, bucket = entry_of(75, 64), Size(64, 64)
    draws = [framing(entry, View(bucket, place=(0.5, (n + 0.5) / 1200))).crop[1] for n in range(1200)]
    assert {left: draws.count(left) for left in set(draws)} == dict.fromkeys(range(12), 100)
    assert framing(entry, View(bucket, place=(0.5, 0))).crop == (0, 0)
    assert framing(entry, View(bucket, place=(0.5, 1))).crop == (0, 11)


def test_the_plain_view_is_lanczos_and_a_middle_crop() -> None:
    """By Pillow and numpy alone."""
    picture, bucket = noise(301, 200), Size(height=64, width=88)
    resized = np.asarray(picture.resize((96, 64), Image.Resampling.LANCZOS), dtype=np.float32)
    assert resized_size(Size(200, 301), bucket) == Size(64, 96)
    pixels = torch.from_numpy(resized[:, 4:92].copy()).permute(2, 0, 1) / 127.5 - 1
    assert torch.equal(shown(picture, View(bucket)), pixels)


def test_a_tile_is_cut_from_the_scaled_picture_where_its_shift_says() -> None:
    picture, tile = noise(300, 200), Tile(Size(height=128, width=192), top=10, left=20, side=64)
    view, entry = View(Size(64, 64), shift=(5, -7)), entry_of(300, 200, tile)
    scaled = picture.resize((192, 128), Image.Resampling.LANCZOS)
    expected = colours(scaled)[15:79, 13:77]
    for given_picture in (picture, scaled):
        got = fit(given_picture, entry, view).permute(1, 2, 0).numpy() * 127.5 + 127.5
        assert np.abs(got - expected).max() < 1e-3
    assert framing(entry, view) == Framing(original=(200, 300), crop=(15, 13), target=(64, 64))
    mirrored = framing(entry, View(Size(64, 64), flip=True, shift=(5, -7)))
    assert mirrored.crop == (15, 192 - 64 - 13)


def test_a_turned_tile_shows_only_itself() -> None:
    picture, tile = Image.new("RGB", (200, 200), "black"), Tile(Size(200, 200), 40, 60, 64)
    picture.paste("white", (60, 40, 124, 104))
    view, entry = View(Size(64, 64), angle=33), entry_of(200, 200, tile)
    assert (fit(picture, entry, view) == 1).all()
    assert framing(entry, view).crop == (40, 60)


@given(small_sides, small_sides, views, st.data())
def test_a_mask_lies_where_its_picture_lies(width: int, height: int, view: View, data: st.DataObject) -> None:
    """A white rectangle in both: after any view both show it at the same place."""
    left, top = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    right, bottom = data.draw(st.integers(left + 1, width)), data.draw(st.integers(top + 1, height))
    mask = Image.new("L", (width, height))
    mask.paste(255, (left, top, right, bottom))
    entry = entry_of(width, height)
    seen = (fit(mask.convert("RGB"), entry, view)[:1] + 1) / 2
    masked = fit_mask(mask, entry, view)
    assert masked.shape == (1, view.bucket.height, view.bucket.width)
    assert masked.min() >= 0
    assert masked.max() <= 1
    assert ((seen > 0.98) <= (masked > 0.4)).all()
    assert ((seen < 0.02) <= (masked < 0.6)).all()
    assert abs(float(seen.mean() - masked.mean())) < 0.05


def profile_of(*primaries: tuple[float, float, float]) -> bytes:
    """The profile of a colour space with sRGB's curve and other primaries (their XYZ under D50)."""
    data = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    (count,) = struct.unpack_from(">I", data, 128)
    places = {}
    for index in range(count):
        name, offset, _ = struct.unpack_from(">4sII", data, 132 + 12 * index)
        places[name] = offset
    for name, values in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True):
        struct.pack_into(">3i", data, places[name] + 8, *(round(value * 65536) for value in values))
    return bytes(data)


SRGB = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410))
DISPLAY_P3 = ((0.51512, 0.24120, -0.00105), (0.29198, 0.69225, 0.04189), (0.15710, 0.06657, 0.78407))


def test_the_colours_of_a_phone_become_srgb() -> None:
    """Against the formula: linear light, P3's primaries, sRGB's, and its curve again (IEC 61966-2-1), in float64."""
    picture = noise(64, 48)
    decoded = decode(data_of(picture, "PNG", icc_profile=profile_of(*DISPLAY_P3)), "a.png")
    assert "converted to sRGB" in decoded.converted
    encoded = np.asarray(picture, np.float64) / 255
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    to_srgb = np.linalg.inv(np.array(SRGB).T) @ np.array(DISPLAY_P3).T
    linear = np.clip(linear @ to_srgb.T, 0, 1)
    expected = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055) * 255
    assert np.abs(np.asarray(decoded.picture, np.float64) - expected).max() < 2.5
    assert np.abs(np.asarray(decoded.picture, int) - np.asarray(picture, int)).max() > 30


@pytest.mark.parametrize("profile", [profile_of(*SRGB), b"nonsense"])
def test_a_profile_of_srgb_or_of_nothing_changes_no_bit(profile: bytes) -> None:
    picture = noise(64, 48)
    decoded = decode(data_of(picture, "PNG", icc_profile=profile), "a.png")
    assert decoded.converted == ""
    assert np.array_equal(np.asarray(decoded.picture), np.asarray(picture))


def test_what_is_transparent_stays_so_with_a_profile() -> None:
    picture = noise(64, 48).convert("RGBA")
    picture.putalpha(Image.linear_gradient("L").resize((64, 48)))
    decoded = decode(data_of(picture, "PNG", icc_profile=profile_of(*DISPLAY_P3)), "a.png")
    assert decoded.alpha is not None
    assert np.array_equal(np.asarray(decoded.alpha), np.asarray(picture.getchannel("A")))
