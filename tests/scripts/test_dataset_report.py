"""`./run-cmd.sh dataset_report`: it tells all, its exit status says whether all is well, and docs/ shows it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from PIL import Image

from core.training.dataset_report import clip_token_counter
from scripts.dataset_report import main
from tests.scripts.messy_folder import CONFIG, make_messy_folder

PAGE = Path(__file__).parents[2] / "docs" / "pictures.md"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one good picture; the working folder is the one above it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cats").mkdir()
    Image.new("RGB", (640, 480), "orange").save(tmp_path / "cats" / "cat.png")
    (tmp_path / "cats" / "cat.txt").write_text("a cat")
    return tmp_path / "cats"


def test_the_report_in_the_docs_is_the_one_on_the_messy_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_messy_folder(Path("messy"))
    Path("run.toml").write_text(CONFIG, encoding="utf-8")
    assert main(["--config-path", "run.toml", "--json", "report.json"]) == 1
    blocks = re.findall(r"```(?:toml|text)\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    assert CONFIG in blocks, "docs/pictures.md doesn't show the config of the messy folder"
    said = capsys.readouterr().out
    shown = next(block for block in blocks if block.startswith("12 pictures"))
    # the bytes of a file differ between versions of the libraries that write it, and with them its first resolution
    of_bytes = re.compile(r"[\d,.]+ [KM]iB|, shown in the first epoch: \d+|In the first epoch.*")
    assert of_bytes.sub("", shown) == of_bytes.sub("", said), f"docs/pictures.md should show:\n{said}"
    data = json.loads(Path("report.json").read_text(encoding="utf-8"))
    used = {picture["name"] for picture in data["pictures"] if picture["used"]}
    assert len(data["pictures"]) == 12
    assert "messy/in the snow/😀 snow.png" in used


def test_a_good_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", "cats", "--resolution", "512,768x1024"]) == 0
    said = capsys.readouterr().out
    assert "1 picture: 1 used" in said
    assert '640x480 -> 576x448 (x0.93), 768x1024 (x2.13); "a cat" (2 tokens)' in said


def test_several_folders_and_their_subfolders(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.parent / "dogs" / "small").mkdir(parents=True)
    Image.new("RGB", (640, 480)).save(folder.parent / "dogs" / "small" / "dog.png")
    assert main(["--folder", "cats", "--folder", "dogs", "--no-tokens"]) == 1
    assert "switch 'Subfolders too' on" in capsys.readouterr().out
    assert main(["--folder", "cats", "--folder", "dogs", "--subfolders", "--no-tokens"]) == 0
    said = capsys.readouterr().out
    assert "Concept 2: dogs" in said
    assert "tokens" not in said


def test_a_folder_that_is_not_there_is_part_of_the_report(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--folder", "cats", "--folder", "gone", "--no-tokens"]) == 1
    said = capsys.readouterr().out
    assert "This stops a run" in said
    assert "The folder gone doesn't exist" in said
    assert "cats/cat.png" in said


def test_all_pictures_are_listed_on_demand(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(60):
        Image.new("RGB", (64, 64), (number, 0, 0)).save(folder / f"{number}.png")
    main(["--folder", "cats", "--no-tokens"])
    assert "... and 21 more" in capsys.readouterr().out
    main(["--folder", "cats", "--no-tokens", "--all"])
    said = capsys.readouterr().out
    assert said.count("64x64 -> ") == 60
    assert "more: --all" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--config-path", "gone.toml"], "There is no config gone.toml"),
        (["--config-path", "wrong.toml"], "concepts.0.repeats"),
        (["--folder", "cats", "--resolution", "tall"], "'tall' is no resolution"),
        (["--folder", "cats", "--set", "buckets"], "can't be read"),
        (["--config-path", "wrong.toml", "--resolution", "512"], "go with --folder"),
        (["--folder", "cats", "--json", "gone/report.json"], "can't be written"),
    ],
)
def test_what_cannot_be_looked_at(
    arguments: list[str], words: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("wrong.toml").write_text('[[concepts]]\nfolder = "cats"\nrepeats = "many"\n')
    assert main([*arguments, "--no-tokens"]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert said.out == ""


def test_the_folder_has_to_be_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        main([])
    assert ending.value.code == 2
    assert "--folder" in capsys.readouterr().err


def test_tokens_are_clips() -> None:
    count = clip_token_counter()
    assert [count(text) for text in ("", "a cat", "a cat, a dog")] == [0, 2, 5]
    assert count("cat " * 300) == 300
    assert clip_token_counter(weighted=True)("a (cat:1.3), [a] dog") == 5
