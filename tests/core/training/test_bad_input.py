"""What a user may do wrong: each has its own error, in plain words, and nothing is lost or overwritten."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from core.config.lora import LoraConfig
from core.config.toml_file import read_config
from core.contracts import Family
from core.errors import SettingsError
from core.families._saving import save_single_file
from core.manager.training_executor import Job, TrainingExecutor
from core.registry import registry
from core.training import loop
from core.training.events import Event, Failed, Finished, Message
from core.training.run_folder import RunFolder
from scripts.train import main

COULD_NOT_START, FAILED = 2, 1


@dataclass
class Attempt:
    """What the command said and answered."""

    status: int
    text: str
    job: Job

    def messages(self) -> list[str]:
        return [event.text for event in self.job.events()[0] if isinstance(event, Message)]


@pytest.fixture
def attempt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> Callable[..., Attempt]:
    """The command, in this process; it must not change what lies beside the workspace and the cache."""

    def run(config: Path, *flags: str, workspace: Path = tmp_path / "run") -> Attempt:
        before = contents(tmp_path)
        capsys.readouterr()
        status = main(["--config-path", str(config), "--workspace", str(workspace), *flags])
        job = Job(workspace)
        if status != COULD_NOT_START:
            job.wait(60)  # the thread ends a moment after its last event
        said = capsys.readouterr()
        text = " ".join((said.out + said.err + caplog.text).split())
        caplog.clear()
        assert "Traceback" not in text
        assert "Ochre made a mistake" not in text
        assert contents(tmp_path) == before, "other files were changed"
        return Attempt(status, text, job)

    return run


def contents(folder: Path) -> dict[str, str]:
    """Hashes of all files but those that a run may write."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and path.relative_to(folder).parts[0] not in ("run", "cache", "disk")
    }


@pytest.fixture
def own_pictures(tmp_path: Path) -> Path:
    """Two good pictures, for a test to add others."""
    folder = tmp_path / "own pictures"
    folder.mkdir()
    for index in range(2):
        Image.new("RGB", (128, 128), (90 * index, 40, 200)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text("a plain colour")
    return folder


# -- pictures


def no_folder(folder: Path) -> None:
    shutil.rmtree(folder)


def empty_folder(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()


def only_broken(folder: Path) -> None:
    for path in folder.glob("*.png"):
        path.write_bytes(b"no picture")


def not_utf8(folder: Path) -> None:
    (folder / "1.txt").write_bytes("café".encode("latin-1"))


def same_stem(folder: Path) -> None:
    Image.new("RGB", (128, 128)).save(folder / "1.jpg")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (no_folder, ["own pictures doesn't exist", "Choose the folder"]),
        (empty_folder, ["no picture in the folder", "own pictures", "Put pictures into it"]),
        (only_broken, ["No picture in the folder", "0.png", "1.png", "is no picture, or a broken one"]),
        (not_utf8, ["1.txt is not UTF-8", "Byte 4", "save it with the encoding UTF-8"]),
        (same_stem, ["1.jpg and 1.png", "Rename one of each"]),
    ],
)
def test_pictures_that_can_not_be_trained_on(
    spoil: Callable[[Path], None], said: list[str], attempt: Any, run_toml: Any, own_pictures: Path, tmp_path: Path
) -> None:
    config = run_toml("sd15", {"concept": {"folder": str(own_pictures)}})
    spoil(own_pictures)
    tried = attempt(config)
    assert tried.status == FAILED
    assert all(words in tried.text for words in said), tried.text
    assert tried.job.state == "failed"
    assert not (tmp_path / "run" / "manifest.json").exists()


def test_a_folder_that_vanishes_during_the_run_is_told_and_no_step_is_lost(
    run_toml: Any, own_pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The pictures are read at each step here, as they aren't cached."""
    hidden = own_pictures.with_name("hidden")
    changes = {
        "concept": {"folder": str(own_pictures)},
        "memory": {"latent_caching": False},
        "training": {"epochs": 30, "train_batch_size": 1},
    }
    monkeypatch.setattr(loop, "step_event", hides(own_pictures, hidden, after=2))
    config = run_toml("sd15", changes)
    failed = TrainingExecutor().start(config).wait(120)
    assert isinstance(failed, Failed)
    assert str(own_pictures) in failed.what and "can't be read" in failed.what
    (backup,) = (tmp_path / "run" / "backups").glob("step-*")
    assert int(backup.name.removeprefix("step-")) >= 2
    hidden.rename(own_pictures)
    assert isinstance(TrainingExecutor().start(config).wait(120), Finished)


def hides(folder: Path, place: Path, after: int) -> Callable[..., Event]:
    """`step_event`, which moves a folder away after a step."""
    tell = loop.step_event

    def step_event(run: Any, progress: Any, *rest: Any) -> Event:
        if progress.step == after and folder.exists():
            folder.rename(place)
        return tell(run, progress, *rest)

    return step_event


def test_strange_pictures_are_named_and_converted_or_left_out(
    attempt: Any, run_toml: Any, own_pictures: Path, tmp_path: Path
) -> None:
    whole = (own_pictures / "0.png").read_bytes()
    (own_pictures / "broken.png").write_bytes(b"no picture")
    (own_pictures / "truncated.png").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (1, 1)).save(own_pictures / "dot.png")
    Image.new("CMYK", (128, 128)).save(own_pictures / "cmyk.jpg")
    Image.new("I;16", (128, 128), 40_000).save(own_pictures / "deep.png")
    Image.new("RGBA", (128, 128), (200, 0, 0, 90)).save(own_pictures / "clear.png")
    frames = [Image.new("RGB", (128, 128), colour) for colour in ("red", "blue")]
    frames[0].save(own_pictures / "moving.gif", save_all=True, append_images=frames[1:])
    changes = {"concept": {"folder": str(own_pictures)}, "training": {"max_steps": 1}}
    config = run_toml("sd15", changes)

    tried = attempt(config)
    assert tried.status == 0
    told = tried.messages()
    expected = {
        "broken.png": "no picture, or a broken one",
        "truncated.png": "broken or cut off",
        "dot.png": "too small: 1x1",
        "cmyk.jpg": "CMYK: converted to RGB",
        "deep.png": "16 bits per colour: scaled to 8",
        "clear.png": "transparent: laid on white",
        "moving.gif": "only the first frame",
    }
    for name, words in expected.items():
        assert any(name in text and words in text for text in told), (name, told)
    plan = TrainingExecutor().plan(read_config(LoraConfig, config))
    assert {Path(note.path).name for note in plan.left_out} == {"broken.png", "truncated.png", "dot.png"}
    assert {Path(note.path).name for note in plan.converted} == {"cmyk.jpg", "deep.png", "clear.png", "moving.gif"}
    assert plan.pictures == 6


# -- the base


def whole_file(folder: Path) -> bytes:
    family: Family = registry("families").get("sd15")()
    return save_single_file(family.tiny(), folder / "whole.safetensors").read_bytes()


BASES: dict[str, tuple[Callable[[Path], bytes], list[str]]] = {
    "a text": (lambda _: b"Dear diary, " * 100, ["is no model that can be read", "Download it again"]),
    "a web page": (lambda _: b"<!DOCTYPE html><html>Please log in</html>", ["it is a web page", "log-in page"]),
    "empty": (lambda _: b"", ["is no model that can be read", "empty"]),
    "half of a model": (lambda folder: whole_file(folder)[:2_000_000], ["it is not whole", "bytes are missing"]),
    "the beginning of one": (lambda folder: whole_file(folder)[:500], ["it is not whole", "download that broke off"]),
}


@pytest.mark.parametrize("kind", BASES)
def test_a_base_that_is_no_whole_model(kind: str, attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    make, said = BASES[kind]
    base = tmp_path / "base.safetensors"
    base.write_bytes(make(tmp_path))
    tried = attempt(run_toml("sd15", {"base": {"source": str(base)}}))
    assert tried.status == FAILED
    assert all(words in tried.text for words in ["base.safetensors", *said]), tried.text


@pytest.mark.parametrize("leave", [0, 1000])
def test_a_half_downloaded_folder(leave: int, attempt: Any, run_toml: Any, bases: Any, tmp_path: Path) -> None:
    base = shutil.copytree(bases["sd15"], tmp_path / "base")
    weights = base / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:leave])
    if not leave:
        weights.unlink()
    tried = attempt(run_toml("sd15", {"base": {"source": str(base)}}))
    assert tried.status == FAILED
    assert f"{tmp_path}/base/unet" in tried.text
    assert "ownload" in tried.text


def test_a_base_that_is_not_there_or_of_another_family(attempt: Any, run_toml: Any, bases: Any) -> None:
    near = bases["sd15"].with_name("sd51")
    tried = attempt(run_toml("sd15"), "--set", f"base.source={near}")
    assert tried.status == FAILED
    assert "There is no file or folder" in tried.text
    assert "there is sd15" in tried.text
    tried = attempt(run_toml("sd15", {"base": {"family": "sdxl"}}))  # in the same workspace: nothing had begun
    assert tried.status == FAILED
    assert "is not sdxl. Its file says: sd15. Choose another base model, or set the family to detect." in tried.text


def test_a_part_that_the_base_does_not_have(attempt: Any, run_toml: Any) -> None:
    tried = attempt(run_toml("sd15", {"parts": {"text_2": {"train": True}}}))
    assert tried.status == FAILED
    assert "Stable Diffusion 1.5 has no text_2" in tried.text
    assert "Switch parts.text_2.train off" in tried.text


# -- the config


def test_every_problem_of_a_config_at_once_each_with_its_path(attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    config: Path = run_toml("sd15")
    text = config.read_text()
    for right, wrong in {
        "train_batch_size = 2": 'train_batch_size = "2"',
        "epochs = 2": "epoch = 2",
        "keep_backups = 1": "keep_backups = 0",
        "[noise]": "[noize]",
    }.items():
        assert text.count(f"\n{right}\n") == 1, right
        text = text.replace(f"\n{right}\n", f"\n{wrong}\n")
    config.write_text(text)
    tried = attempt(config)
    assert tried.status == COULD_NOT_START
    assert "there are 4 problems" in tried.text
    assert "training.train_batch_size: must be a whole number (it is '2')" in tried.text
    assert "training.epoch: there is no such setting; did you mean 'epochs'?" in tried.text
    assert "saving.keep_backups: must be at least 1 (it is 0)" in tried.text
    assert "noize: there is no such setting; did you mean 'noise'?" in tried.text
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"epochs = = 3", ["not valid TOML", "line 1"]),
        ("name = 'ä'".encode("utf-16"), ["is not UTF-8 text", "Save it as UTF-8"]),
        (None, ["There is no config", "Check the path"]),
    ],
)
def test_a_config_that_is_no_toml(data: bytes | None, said: list[str], attempt: Any, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    if data is not None:
        config.write_bytes(data)
    tried = attempt(config)
    assert tried.status == COULD_NOT_START
    assert all(words in tried.text for words in ["config.toml", *said]), tried.text
    assert not (tmp_path / "run").exists()


# -- the workspace and the destination


def test_a_workspace_in_use(attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    config = run_toml("sd15")
    lock = RunFolder(tmp_path / "run").lock()
    tried = attempt(config)
    lock.release()
    assert tried.status == COULD_NOT_START
    assert f"Another run is using {tmp_path}/run. Wait for it, stop it, or choose another workspace." in tried.text
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.lock"]


def test_a_workspace_of_other_things_stays_as_it_is(attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    (tmp_path / "photographs").mkdir()
    (tmp_path / "photographs" / "holiday.png").write_text("precious")
    tried = attempt(run_toml("sd15"), workspace=tmp_path / "photographs")
    assert tried.status == COULD_NOT_START
    assert "photographs is no workspace: it holds other things. Choose a new or an empty folder." in tried.text
    tried = attempt(run_toml("sd15"), workspace=tmp_path / "photographs" / "holiday.png")
    assert tried.status == COULD_NOT_START
    assert "holiday.png can't be made" in tried.text


def test_a_workspace_of_another_run_stays_as_it_is(attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    config = run_toml("sd15", {"training": {"max_steps": 1}})
    assert attempt(config).status == 0
    before = contents_of_run(tmp_path)
    tried = attempt(config, "--set", "training.seed=7")
    assert tried.status == COULD_NOT_START
    assert "holds a run with other settings: training.seed. Choose a new workspace" in tried.text
    tried = attempt(config)
    assert tried.status == COULD_NOT_START
    assert "The run in" in tried.text
    assert "is finished. Choose a new workspace to repeat it." in tried.text
    assert contents_of_run(tmp_path) == before


def contents_of_run(folder: Path) -> dict[str, str]:
    return contents(folder / "run")


def test_a_lora_is_not_overwritten(attempt: Any, run_toml: Any, tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_text("the work of weeks")
    tried = attempt(run_toml("sd15", {"saving": {"destination": str(mine)}}))
    assert tried.status == COULD_NOT_START
    assert "saving.destination: mine.safetensors is there already; choose another name" in tried.text
    assert not (tmp_path / "run").exists()


def test_a_run_that_goes_on_with_another_destination_overwrites_nothing(
    attempt: Any, run_toml: Any, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_text("the work of weeks")
    nowhere = {"concept": {"folder": str(tmp_path / "nowhere")}}
    assert attempt(run_toml("sd15", nowhere)).status == FAILED  # the run is there now, but hasn't begun
    tried = attempt(run_toml("sd15", {"saving": {"destination": str(mine)}}))
    assert tried.status == COULD_NOT_START
    assert "mine.safetensors is there already" in tried.text


# -- a full disk


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A small disk of so many kilobytes; called again, it has another size."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def make(size: int) -> Path:
        options = f"size={size}k"
        if folder.is_mount():
            options += ",remount"
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True)
        if made.returncode:
            pytest.skip("only root can mount a small disk")
        return folder

    yield make
    if folder.is_mount():
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.slow
def test_a_disk_that_is_full_at_any_time(attempt: Any, run_toml: Any, disk: Callable[[int], Path]) -> None:
    """The disk grows from try to try, so that each is stopped at a later place: one run goes through in the end."""
    folder = disk(8)
    workspace = folder / "run"
    prompts = {"prompts": [{"prompt": "x", "width": 64, "height": 64}], "steps": 1}
    changes = {
        "training": {"max_steps": 2},
        "memory": {"cache_dir": str(folder / "cache")},
        "saving": {"workspace": str(workspace), "backup_every": "1 step"},
        "sampling": prompts,
    }
    config = run_toml("sd15", changes)
    said = []
    for size in (8, 60, 120, 180, 500, 1600):
        disk(size)
        tried = attempt(config, workspace=workspace)
        assert tried.status in (COULD_NOT_START, FAILED), size
        assert "space" in tried.text or "room" in tried.text, (size, tried.text)
        said.append(tried.text)
    disk(8000)
    assert attempt(config, workspace=workspace).status == 0
    steps = [event.step for event in Job(workspace).events()[0] if event.kind == "step"]
    assert steps == [1, 2]


# -- an optimizer that doesn't work here


@pytest.mark.slow
def test_a_broken_bitsandbytes_is_told_before_the_start_with_what_replaces_it(
    run_toml: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "packages" / "bitsandbytes"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('libcudart.so.11.0 is missing')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "packages"))
    config = run_toml("sd15", {"optimizer": {"name": "adamw8bit"}, "training": {"max_steps": 1}})
    with pytest.raises(SettingsError) as caught:
        TrainingExecutor().start(config)
    (problem,) = caught.value.problems
    assert problem.path == "optimizer.name"
    assert "doesn't work on this machine" in problem.message
    assert "libcudart.so.11.0 is missing" in problem.message
    assert problem.replacement is not None
    assert problem.replacement["optimizer"]["name"] == "adamw"
    assert not (tmp_path / "run").exists()

    job = TrainingExecutor().start(config, changes=problem.replacement)  # the one click
    assert job.wait(120) is not None
    assert job.state == "finished"
    assert read_config(LoraConfig, tmp_path / "run" / "run.toml").optimizer.name == "adamw"
