"""Captions of tiles, asked of a real server that speaks Ollama's API: once each, and what happens when it fails."""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from core.contracts import Size
from core.dataset.manifest import Entry, Tile, sha256_of
from core.dataset.settings import Concept, DetailCrops
from core.dataset.tile_captions import asking
from core.dataset.tile_captions.captioning import FOLDER, KeptCaptions, Wanted, caption_tiles, is_asked_for
from core.dataset.tiles import grid
from core.errors import OchreError, PictureError
from tests.core.dataset.tile_captions.fake_ollama import FakeOllama, chat, serving

SIZE = Size(height=100, width=148)


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_FIRST_PAUSE", 0.001)


@pytest.fixture
def ollama() -> Iterator[FakeOllama]:
    with serving(FakeOllama()) as fake:
        yield fake


def concept_for(fake: FakeOllama | str, **changes) -> Concept:
    concept = Concept(folder="pictures")
    settings = {
        "enabled": True,
        "tile_resolution": 64,
        "overlap": 16,
        "enable_captioning": True,
        "caption_endpoint": fake if isinstance(fake, str) else fake.endpoint,
        "caption_user_prompt": "Which detail? {context} {braces}",
        "parallel_workers": 1,
        "caption_max_retries": 1,
        "caption_timeout": 20,
    }
    concept.image.detail_crops = DetailCrops(**{**settings, **changes})
    return concept


def write_picture(folder: Path, name: str = "cat", seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (SIZE.height, SIZE.width, 3), dtype=np.uint8)
    path = folder / f"{name}.png"
    Image.fromarray(pixels).save(path)
    return path


def entry_of(path: Path, tile: Tile | None = None, captions: tuple[str, ...] = ("a cat",)) -> Entry:
    sha256 = sha256_of(path.read_bytes())
    return Entry(str(path), sha256, SIZE.width, SIZE.height, captions, 0, (Size(64, 64),), f"p/{path.name}", tile=tile)


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    """A whole picture and its six tiles."""
    path = write_picture(tmp_path)
    crops = DetailCrops(enabled=True, tile_resolution=64, overlap=16)
    return [entry_of(path), *(entry_of(path, tile) for tile in grid(SIZE, crops))]


class Told:
    """What a pass told: progress and warnings."""

    def __init__(self) -> None:
        self.progress: list[tuple[str, int, int]] = []
        self.warnings: list[str] = []

    def report(self, title: str, done: int, total: int) -> None:
        self.progress.append((title, done, total))


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def caption(tmp_path: Path, told: Told) -> Callable[..., list[Entry]]:
    def run(entries: list[Entry], concept: Concept, **more) -> list[Entry]:
        done = caption_tiles(entries, [concept], tmp_path / "cache", told.report, told.warnings.append, **more)
        assert done is not None
        return done

    return run


def own_captions(entries: list[Entry]) -> list[str]:
    assert all(len(entry.captions) == 1 for entry in entries)
    return [entry.captions[0] for entry in entries]


def files(tmp_path: Path) -> list[Path]:
    return sorted(path for path in (tmp_path / "cache" / FOLDER).rglob("*") if path.is_file())


def test_each_tile_is_shown_as_it_is_and_gets_its_own_caption(ollama, entries, caption, told, tmp_path):
    done = caption(entries, concept_for(ollama, caption_system_prompt="You are a cat."))
    assert own_captions(done) == ["a cat", *(f"a detail, number {number}" for number in range(1, 7))]
    assert [entry.tile for entry in done] == [entry.tile for entry in entries]
    whole = np.asarray(Image.open(entries[0].path))
    for entry, picture in zip(entries[1:], ollama.pictures(), strict=True):
        tile = entry.tile
        assert picture.format == "PNG"
        expected = whole[tile.top : tile.top + 64, tile.left : tile.left + 64]
        assert np.array_equal(np.asarray(picture), expected)
    assert ollama.prompts() == ["Which detail? a cat {braces}"] * 6
    assert all(body["messages"][0] == {"role": "system", "content": "You are a cat."} for body in ollama.asked)
    assert all(body["model"] == "qwen2.5vl:3b" for body in ollama.asked)
    assert told.progress[0] == ("Captioning tiles", 0, 6) and told.progress[-1] == ("Captioning tiles", 6, 6)
    assert not told.warnings and len(files(tmp_path)) == 6
    assert ollama.unload.is_set()


def test_a_scaled_tile_is_cut_from_the_scaled_picture(ollama, tmp_path, caption):
    path = write_picture(tmp_path)
    tile = Tile(Size(70, 104), 6, 40, 64)
    caption([entry_of(path, tile)], concept_for(ollama))
    scaled = Image.open(path).resize((104, 70), Image.Resampling.LANCZOS).crop((40, 6, 104, 70))
    assert np.array_equal(np.asarray(ollama.pictures()[0]), np.asarray(scaled))


def test_transparent_parts_have_the_concepts_colour(ollama, tmp_path, caption):
    path = tmp_path / "ghost.png"
    Image.new("RGBA", (SIZE.width, SIZE.height), (0, 0, 0, 0)).save(path)
    concept = concept_for(ollama)
    concept.image.alpha_colour = "#102030"
    caption([entry_of(path, Tile(SIZE, 0, 0, 64))], concept)
    assert ollama.pictures()[0].getpixel((5, 5)) == (16, 32, 48)


def test_no_tile_is_asked_for_twice(ollama, entries, caption):
    first = caption(entries, concept_for(ollama))
    before = list(ollama.requests)
    assert caption(entries, concept_for(ollama)) == first
    assert ollama.requests == before, "nothing at all is asked when everything is there"
    write_again = caption([*entries, *entries[1:3]], concept_for(ollama))
    assert write_again == [*first, *first[1:3]] and ollama.requests == before


def test_equal_tiles_are_asked_for_once(ollama, tmp_path, caption):
    path = write_picture(tmp_path)
    copy = tmp_path / "copy.png"
    copy.write_bytes(path.read_bytes())
    done = caption([entry_of(each, Tile(SIZE, 0, 0, 64)) for each in (path, copy)], concept_for(ollama))
    assert own_captions(done) == ["a detail, number 1"] * 2 and len(ollama.asked) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"caption_model": "llava:7b"},
        {"caption_system_prompt": "Say it in French."},
        {"caption_user_prompt": "What is it?"},
        {},
    ],
)
def test_what_the_answer_hangs_on_is_asked_anew(ollama, entries, caption, change):
    ollama.models.append("llava:7b")
    caption(entries, concept_for(ollama))
    changed = entries if change else [entry_of(Path(entry.path), entry.tile, ("a dog",)) for entry in entries]
    done = caption(changed, concept_for(ollama, **change))
    assert len(ollama.asked) == 12
    assert own_captions(done)[1] == "a detail, number 7"


def test_what_it_does_not_hang_on_is_not_asked_anew(ollama, entries, caption):
    first = caption(entries, concept_for(ollama, caption_user_prompt="What is it?"))
    others = [entry_of(Path(entry.path), entry.tile, ("a dog",)) for entry in entries]
    concept = concept_for("http://127.0.0.1:9", caption_user_prompt="What is it?", parallel_workers=3)
    assert [entry.captions for entry in caption(others, concept, seed=5)[1:]] == [e.captions for e in first[1:]]
    assert len(ollama.asked) == 6


def test_several_captions_of_a_picture_are_all_told(ollama, tmp_path, caption):
    entry = entry_of(write_picture(tmp_path), Tile(SIZE, 0, 0, 64), ("a cat", "black fur"))
    done = caption([entry], concept_for(ollama, caption_user_prompt="{context}!"))
    assert ollama.prompts() == ["a cat\nblack fur!"] and done[0].captions == ("a detail, number 1",)


def test_the_share_is_drawn_by_seed_and_tile(ollama, tmp_path, caption):
    path = write_picture(tmp_path)
    crops = DetailCrops(enabled=True, tile_resolution=64, overlap=63)
    tiles = [entry_of(path, tile) for tile in grid(SIZE, crops)][:1000]
    concept = concept_for(ollama, caption_probability=0.3)
    chosen = [is_asked_for(entry, concept, 1) for entry in tiles]
    assert 250 < sum(chosen) < 350  # a share of 0.3 of 1000 has a standard deviation of 14.5
    assert chosen == [is_asked_for(entry, concept, 1) for entry in tiles]
    assert chosen[::-1] == [is_asked_for(entry, concept, 1) for entry in tiles[::-1]]
    assert chosen != [is_asked_for(entry, concept, 2) for entry in tiles]
    assert not any(is_asked_for(e, concept_for(ollama, caption_probability=0.0), 1) for e in tiles)
    assert all(is_asked_for(e, concept_for(ollama), 1) for e in tiles)
    done = caption(tiles[:20], concept, seed=1)
    assert [entry.captions != ("a cat",) for entry in done] == chosen[:20]


@pytest.mark.parametrize("off", [{"enabled": False}, {"enable_captioning": False}])
def test_nothing_is_asked_where_it_is_off(ollama, entries, caption, off):
    assert caption(entries, concept_for(ollama, **off)) == entries
    assert not ollama.requests


def test_a_damaged_entry_is_asked_for_again(ollama, entries, caption, tmp_path):
    first = caption(entries, concept_for(ollama))
    for path, damage in zip(files(tmp_path), ("", "{", "[]", '{"caption": 7, "crc32": "0"}', None, None), strict=True):
        whole = path.read_text(encoding="utf-8")
        path.write_text(whole.replace("detail", "detajl") if damage is None else damage, encoding="utf-8")
    again = caption(entries, concept_for(ollama))
    assert len(ollama.asked) == 12 and len(set(own_captions(again)) & set(own_captions(first))) == 1
    assert caption(entries, concept_for(ollama)) == again and len(ollama.asked) == 12


def test_what_stands_on_disk_is_text_that_one_can_read(ollama, entries, caption, tmp_path):
    ollama.answer = lambda body, number: "eine Tür – 猫"
    caption(entries[:2], concept_for(ollama))
    data = json.loads(files(tmp_path)[0].read_bytes().decode("utf-8"))
    assert (data["caption"], data["model"]) == ("eine Tür – 猫", "qwen2.5vl:3b")
    assert KeptCaptions(tmp_path / "cache").get(files(tmp_path)[0].stem) == "eine Tür – 猫"


def test_an_interrupted_pass_goes_on_where_it_was(ollama, entries, told, tmp_path):
    concept = concept_for(ollama)

    def stop() -> bool:
        return len(ollama.asked) >= 3

    assert caption_tiles(entries, [concept], tmp_path / "cache", told.report, told.warnings.append, stop) is None
    assert not told.warnings
    asked = len(ollama.asked)
    assert 3 <= asked < 6
    deadline = time.monotonic() + 5
    while len(files(tmp_path)) < asked and time.monotonic() < deadline:
        time.sleep(0.01)  # the answer that was on its way is kept, too
    done = caption_tiles(entries, [concept], tmp_path / "cache")
    assert done and len(ollama.asked) == 6 and len(set(own_captions(done))) == 7


def test_stopping_does_not_wait_for_an_answer(ollama, entries, tmp_path):
    release, waiting = threading.Event(), threading.Event()

    def answer(body, number):
        waiting.set()
        release.wait(20)
        return "late"

    ollama.answer = answer
    began = time.monotonic()
    assert caption_tiles(entries, [concept_for(ollama)], tmp_path / "cache", should_stop=waiting.is_set) is None
    assert time.monotonic() - began < 5
    release.set()


def test_as_many_are_asked_at_once_as_there_are_workers(ollama, entries, caption):
    barrier = threading.Barrier(3, timeout=10)

    def answer(body, number):
        barrier.wait()  # broken, and with it the test, unless three come together
        return "together"

    ollama.answer = answer
    done = caption(entries, concept_for(ollama, parallel_workers=3, caption_max_retries=0, caption_failure="stop"))
    assert own_captions(done)[1:] == ["together"] * 6


def test_an_answer_is_given_to_its_own_tile_whatever_the_order(ollama, entries, caption):
    def answer(body, number):
        time.sleep(0.05 * (number % 3))
        (picture,) = FakeOllama(asked=[body]).pictures()
        return f"pixel {np.asarray(picture)[0, 0].tolist()} end"

    ollama.answer = answer
    done = caption(entries, concept_for(ollama, parallel_workers=4))
    whole = np.asarray(Image.open(entries[0].path))
    for entry in done[1:]:
        assert entry.captions == (f"pixel {whole[entry.tile.top, entry.tile.left].tolist()} end",)


# what goes wrong


def kept_sources(done: list[Entry]) -> bool:
    return own_captions(done) == ["a cat"] * len(done)


def test_a_missing_model_is_pulled_and_the_progress_told(ollama, entries, caption, told):
    ollama.models.clear()
    ollama.pull = [
        {"status": "pulling manifest"},
        {"status": "pulling aa", "digest": "aa", "total": 3_000_000_000, "completed": 500_000_000},
        {"status": "pulling bb", "digest": "bb", "total": 200_000_000},
        {"status": "pulling aa", "digest": "aa", "total": 3_000_000_000, "completed": 3_000_000_000},
        {"status": "success"},
    ]
    done = caption(entries, concept_for(ollama))
    assert own_captions(done)[1:] == [f"a detail, number {number}" for number in range(1, 7)]
    assert ollama.requests.count("POST /api/pull") == 1 and not told.warnings


def test_the_progress_of_a_download_is_told(entries, tmp_path, told):
    go_on = threading.Event()

    class Slow(list):
        def __iter__(self):
            yield {"status": "pulling aa", "digest": "aa", "total": 3_000_000_000, "completed": 500_000_000}
            yield {"status": "pulling bb", "digest": "bb", "total": 200_000_000}
            go_on.wait(10)
            yield {"status": "success"}

    def report(title: str, done: int, total: int) -> None:
        told.report(title, done, total)
        if total == 3200:
            go_on.set()

    with serving(FakeOllama(models=[], pull=Slow([{"status": "success"}]))) as fake:
        assert caption_tiles(entries[:2], [concept_for(fake)], tmp_path / "cache", report)
    assert ("Ollama downloads qwen2.5vl:3b (MB)", 500, 3200) in told.progress and go_on.is_set()


@pytest.mark.parametrize(
    "lines", [[{"error": "pull model manifest: file does not exist"}], [{"status": "pulling"}], []]
)
def test_a_download_that_fails_is_told_once(ollama, entries, caption, told, lines):
    ollama.models.clear()
    ollama.pull = lines
    assert kept_sources(caption(entries, concept_for(ollama)))
    (warning,) = told.warnings
    assert warning.startswith("6 of 6 tiles keep their picture's caption. Ollama at http://127.0.0.1:")
    assert "can't download qwen2.5vl:3b" in warning and "ollama pull" in warning
    assert ("file does not exist" in warning) == (lines != [] and "error" in lines[0])
    assert ollama.requests.count("POST /api/pull") == 2


def test_a_missing_model_is_not_pulled_unasked(ollama, entries, caption, told):
    ollama.models[:] = ["qwen2.5vl:7b"]
    assert kept_sources(caption(entries, concept_for(ollama, caption_auto_pull=False)))
    (warning,) = told.warnings
    assert "doesn't have the model qwen2.5vl:3b" in warning and "ollama pull qwen2.5vl:3b" in warning
    assert "POST /api/pull" not in ollama.requests and not ollama.asked


@pytest.mark.parametrize(
    ("there", "wanted"), [("llava:latest", "llava"), ("LLaVA:7b", "llava:7B"), ("a/b:latest", "a/b")]
)
def test_a_model_is_known_by_all_its_names(ollama, entries, caption, there, wanted):
    ollama.models[:] = [there]
    assert own_captions(caption(entries, concept_for(ollama, caption_model=wanted)))[6] == "a detail, number 6"
    assert "POST /api/pull" not in ollama.requests


def test_a_model_that_sees_nothing_is_refused(ollama, entries, caption, told):
    ollama.capabilities = ["completion", "tools"]
    assert kept_sources(caption(entries, concept_for(ollama)))
    assert "can't look at pictures" in told.warnings[0] and not ollama.asked


def test_an_old_server_that_says_nothing_of_capabilities_is_used(ollama, entries, caption):
    ollama.capabilities = None
    assert not kept_sources(caption(entries, concept_for(ollama)))


def test_a_failed_question_is_repeated(ollama, entries, caption, told):
    failing = {1, 4, 5}
    ollama.answer = lambda body, number: (500, b'{"error": "out of memory"}') if number in failing else f"tile {number}"
    done = caption(entries[:4], concept_for(ollama, caption_max_retries=2))
    assert own_captions(done) == ["a cat", "tile 2", "tile 3", "tile 6"]
    assert not told.warnings
    seeds = [body["options"]["seed"] for body in ollama.asked]
    assert seeds[1] == seeds[0] + 1 and len(set(seeds)) == 6


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("", "nothing"),
        ("   \n ", "nothing"),
        ("<think>What may it be? A cat, a dog", "nothing"),
        ("!!!!!!!!!!", "no words"),
        ("x" * 1001, "1001 characters"),
        ("I'm sorry, but I can't help with that.", "a refusal"),
        ("the cat " * 40, "the same words"),
    ],
)
def test_nonsense_is_asked_again_then_failed(ollama, entries, caption, told, tmp_path, answer, why):
    ollama.answer = lambda body, number: answer
    assert kept_sources(caption(entries, concept_for(ollama, caption_max_retries=2)))
    assert len(ollama.asked) >= 9, "three tiles, three times each"
    (warning,) = told.warnings
    assert f"6 of 6 tiles keep their picture's caption. qwen2.5vl:3b answers with {why}" in warning
    assert "After 3 failures in a row, the others were not asked for." in warning
    assert not files(tmp_path), "failures aren't kept"


def test_one_failure_among_many_costs_one_tile(ollama, entries, caption, told):
    ollama.answer = lambda body, number: "" if number in (3, 4) else f"tile {number}"
    done = caption(entries, concept_for(ollama))
    assert own_captions(done) == ["a cat", "tile 1", "tile 2", "a cat", "tile 5", "tile 6", "tile 7"]
    assert told.warnings == ["1 of 6 tiles keep their picture's caption. qwen2.5vl:3b answers with nothing."]
    again = caption(entries, concept_for(ollama))
    assert own_captions(again)[3] == "tile 8"


def test_a_slow_answer_is_not_waited_for(ollama, entries, caption, told):
    late = threading.Event()
    ollama.answer = lambda body, number: "late" if late.wait(20) else ""
    began = time.monotonic()
    assert kept_sources(caption(entries, concept_for(ollama, caption_timeout=1, caption_max_retries=0)))
    late.set()
    assert time.monotonic() - began < 15
    assert "gave no answer within 1 s" in told.warnings[0]


def test_an_answer_that_trickles_in_is_not_waited_for(entries, caption, told):
    """One byte every tenth of a second would pass every timeout between two bytes."""

    def serve(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        try:
            for _ in range(100):
                connection.sendall(b" ")
                time.sleep(0.1)
        except OSError:
            pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=serve, args=(listening,), daemon=True).start()
        concept = concept_for(
            f"http://127.0.0.1:{listening.getsockname()[1]}", caption_timeout=1, caption_max_retries=0
        )
        assert kept_sources(caption(entries, concept))
    assert "gave no answer within 1 s" in told.warnings[0]


def test_a_huge_answer_is_cut_off(ollama, entries, caption, told):
    ollama.answer = lambda body, number: (200, b'{"message": {"content": "' + b"cat " * 2**20 + b'"}}')
    assert kept_sources(caption(entries, concept_for(ollama, caption_max_retries=0)))
    assert "an answer of more than 1048576 bytes" in told.warnings[0]


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"message": "a cat"}', b'{"message": {"content": null}}', chat(7)]
)
def test_an_answer_that_is_none_of_ollamas_fails(ollama, entries, caption, told, body):
    ollama.answer = lambda question, number: (200, body)
    assert kept_sources(caption(entries, concept_for(ollama)))
    assert len(told.warnings) == 1 and len(ollama.asked) >= 6


def unused_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return listening.getsockname()[1]


def test_where_nobody_listens_all_goes_on_and_it_is_said_once(entries, caption, told):
    endpoint = f"http://127.0.0.1:{unused_port()}"
    assert kept_sources(caption(entries, concept_for(endpoint)))
    assert told.warnings == [
        f"6 of 6 tiles keep their picture's caption. Ollama can't be reached at {endpoint}. Connection refused. "
        "Start it (`ollama serve`), or correct its address."
    ]


def test_a_failure_may_stop_the_run(entries, caption, told):
    endpoint = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(OchreError) as error:
        caption(entries, concept_for(endpoint, caption_failure="stop"))
    assert error.value.what == f"The tiles can't be captioned. Ollama can't be reached at {endpoint}."
    assert error.value.why == "Connection refused."
    assert "caption_failure" in error.value.do and not told.warnings


def test_a_failure_that_stops_the_run_names_the_tile(ollama, entries, caption):
    ollama.answer = lambda body, number: "" if number > 2 else f"tile {number}"
    with pytest.raises(OchreError, match=r"There is no caption for p/cat\.png, tile 84,0 of 148x100\. .* with nothing"):
        caption(entries, concept_for(ollama, caption_failure="stop"))
    ollama.answer = lambda body, number: f"tile {number}"
    assert own_captions(caption(entries, concept_for(ollama, caption_failure="stop")))[1:3] == ["tile 1", "tile 2"]


def test_a_redirect_is_not_followed(ollama, entries, caption, told):
    with serving(FakeOllama(redirect=ollama.endpoint)) as elsewhere:
        assert kept_sources(caption(entries, concept_for(elsewhere)))
        assert "points to another address, which is not followed" in told.warnings[0]
    assert not ollama.requests


def test_a_proxy_of_the_environment_is_not_used(ollama, entries, caption, monkeypatch):
    with serving(FakeOllama()) as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.endpoint)
        for name in ("no_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        caption(entries, concept_for(ollama))
        assert len(ollama.asked) == 6 and not proxy.requests


def test_a_password_in_the_address_is_used_and_never_told(ollama, entries, caption, told, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    secret = ollama.endpoint.replace("http://", "http://me:pass%20word@")
    caption(entries[:2], concept_for(secret))
    assert all(headers["Authorization"] == "Basic bWU6cGFzcyB3b3Jk" for headers in ollama.headers)
    ollama.answer = lambda body, number: (500, b'{"error": "broken"}')
    caption(entries, concept_for(secret))
    with pytest.raises(OchreError) as error:
        caption(entries, concept_for(f"http://me:pass%20word@127.0.0.1:{unused_port()}", caption_failure="stop"))
    with pytest.raises(OchreError) as malformed:
        caption(entries, concept_for("http://me:pass%20word/x@127.0.0.1", caption_failure="stop"))
    for address in ("http://me:pass%20word@h", "http://me:pass%20word@h?key=pass", "ftp://me:pass%20word@h"):
        (problem,) = concept_for(address).image.detail_crops.check()
        told.warnings.append(str(problem))
    kept = "".join(path.read_text(encoding="utf-8") for path in files(tmp_path))
    for text in (str(error.value), str(malformed.value), *told.warnings, caplog.text, kept):
        assert text and "pass" not in text and "me:" not in text and "bWU6" not in text


def test_an_error_of_the_server_is_told_in_its_own_words(ollama, entries, caption, told):
    ollama.answer = lambda body, number: (400, json.dumps({"error": "no \x1b[31mpictures\n" + "x" * 500}).encode())
    assert kept_sources(caption(entries, concept_for(ollama)))
    assert "answers with error 400. no [31mpictures xxx" in told.warnings[0] and len(told.warnings[0]) < 500
    assert len(ollama.asked) <= 3 + 2, "what is refused isn't repeated"


@pytest.mark.parametrize(("damage", "why"), [(b"", "is empty"), (b"x", "has changed"), (None, "can't be read")])
def test_a_picture_that_changed_is_named(ollama, entries, caption, damage, why):
    path = Path(entries[0].path)
    path.unlink() if damage is None else path.write_bytes(damage)
    with pytest.raises(PictureError, match=rf"cat\.png {why}"):
        caption(entries, concept_for(ollama))


def test_a_cache_that_cannot_be_written_stops_the_pass(ollama, entries, tmp_path):
    (tmp_path / "cache").write_text("a file in place of the folder")
    with pytest.raises(OchreError, match="can't be written"):
        caption_tiles(entries, [concept_for(ollama)], tmp_path / "cache")


def test_two_concepts_may_ask_two_models(ollama, tmp_path, told):
    ollama.models.append("llava:7b")
    first, second = write_picture(tmp_path, "a", 1), write_picture(tmp_path, "b", 2)
    tile = Tile(SIZE, 0, 0, 64)
    entries = [entry_of(first, tile), Entry(**{**fields(entry_of(second, tile)), "concept": 1})]
    concepts = [concept_for(ollama), concept_for(ollama, caption_model="llava:7b")]
    done = caption_tiles(entries, concepts, tmp_path / "cache", told.report, told.warnings.append)
    assert done and own_captions(done) == ["a detail, number 1", "a detail, number 2"]
    assert [body["model"] for body in ollama.asked] == ["qwen2.5vl:3b", "llava:7b"]
    assert told.progress[-1] == ("Captioning tiles", 2, 2)


def fields(entry: Entry) -> dict:
    return {name: getattr(entry, name) for name in Entry.__dataclass_fields__}


def test_the_key_is_a_function_of_what_is_asked_and_of_nothing_else(tmp_path):
    path = write_picture(tmp_path)
    entry = entry_of(path, Tile(SIZE, 0, 0, 64))

    def key(entry: Entry = entry, **changes) -> str:
        return Wanted.of(entry, concept_for("http://a", **changes)).key

    assert key() == key(caption_timeout=7, caption_probability=0.5, parallel_workers=9, caption_endpoint="http://b")
    moved = tmp_path / "other.png"
    moved.write_bytes(path.read_bytes())
    assert key() == key(entry_of(moved, Tile(SIZE, 0, 0, 64)))
    others = [Tile(SIZE, 1, 0, 64), Tile(SIZE, 0, 1, 64), Tile(SIZE, 0, 0, 72), Tile(Size(99, 148), 0, 0, 64)]
    assert len({key(), *(key(entry_of(path, tile)) for tile in others)}) == 5
