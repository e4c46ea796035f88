"""The installer's parts that need no environment of their own: detection, choices, what pip's failures mean."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import installer
from installer import InstallError, Stamp, Torch


def touch(root: Path, *paths: str) -> None:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()
        (root / path).chmod(0o755)


@pytest.mark.parametrize(
    ("present", "list_name"),
    [
        (["dev/nvidia0"], "requirements-cuda.txt"),
        (["bin/nvidia-smi"], "requirements-cuda.txt"),
        (["usr/lib/wsl/lib/nvidia-smi"], "requirements-cuda.txt"),
        (["dev/nvidia0", "dev/kfd"], "requirements-cuda.txt"),  # an AMD processor's graphics beside an NVIDIA card
        (["dev/kfd"], "requirements-rocm.txt"),
        ([], "requirements-default.txt"),
        (["dev/nvidiactl"], "requirements-default.txt"),  # a driver, but no card
    ],
)
def test_detection(tmp_path: Path, present: list[str], list_name: str) -> None:
    touch(tmp_path, *present)
    platform = installer.detect_platform(tmp_path, str(tmp_path / "bin"))
    assert platform.list_name == list_name
    expected = "neither an NVIDIA nor an AMD" if list_name == "requirements-default.txt" else str(tmp_path)
    assert expected in platform.reason


def test_a_list_that_the_user_named_is_taken_and_a_wrong_one_refused() -> None:
    platform = installer.choose_platform("requirements-rocm.txt")
    assert platform.list_name == "requirements-rocm.txt"
    assert "you chose it" in platform.reason
    with pytest.raises(InstallError, match=r"detect, requirements-cuda\.txt"):
        installer.choose_platform("requirements-global.txt")


@pytest.mark.parametrize(
    ("shown", "cuda"),
    [
        ("| NVIDIA-SMI 550.54   Driver Version: 550.54   CUDA Version: 12.4  |", 12),
        ("| NVIDIA-SMI 590.44   Driver Version: 590.44   CUDA UMD Version: 13.1  |", 13),
        ("No devices were found", None),
    ],
)
def test_the_driver_tells_its_cuda(tmp_path: Path, shown: str, cuda: int | None) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\necho '{shown}'\n")
    program.chmod(0o755)
    assert installer.driver_cuda(str(program)) == cuda
    assert installer.driver_cuda(str(tmp_path / "missing")) is None
    assert installer.driver_cuda(None) is None


def torch_found(version: str = "2.13.0", cuda: str | None = None, hip: str | None = None, error: str | None = None):
    return Torch(version, "/somewhere", cuda, hip, gpu=False, error=error)


def test_which_torch_is_kept() -> None:
    def reason(torch: Torch, platform: str) -> str | None:
        return installer.why_not_kept(torch, f"requirements-{platform}.txt")

    assert reason(torch_found("2.6.0a0+ecf3bae40a.nv25.01", cuda="12.8"), "cuda") is None
    assert reason(torch_found("2.10.0+rocm7.1", hip="7.1"), "rocm") is None
    assert reason(torch_found("2.13.0", cuda="13.0"), "default") is None  # runs on the CPU just as well
    assert reason(torch_found("2.5.1+cu124", cuda="12.4"), "cuda") == "Ochre needs 2.6 or newer"
    assert reason(torch_found("2.13.0+cpu"), "cuda") == "it is a build without CUDA"
    assert reason(torch_found("2.13.0+cu130", cuda="13.0"), "rocm") == "it is a build without ROCm"
    assert "libcudart" in str(reason(torch_found(error="OSError: libcudart.so.13 is missing"), "cuda"))


@pytest.mark.parametrize(
    ("complaint", "words"),
    [
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "disk is full"),
        ("error: externally-managed-environment\n× This environment is externally managed", "./install.sh"),
        ("ERROR: No matching distribution found for torch==2.13.0", "There is no torch==2.13.0 for Python 3."),
        ("ERROR: ResolutionImpossible: for help visit the manual", "don't go together"),
        ("ERROR: something new", "it says why above"),
    ],
)
def test_what_a_failure_of_pip_means(complaint: str, words: str) -> None:
    assert words in installer.explain_pip(complaint, "install -r list.txt")


def test_an_index_out_of_reach_is_explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_NO_INDEX", raising=False)
    nowhere = ["--index-url", "http://127.0.0.1:9/simple", "--retries", "1"]
    with pytest.raises(InstallError, match="could not reach the package index"):
        installer.run_pip("download", "--no-deps", "-d", str(tmp_path), *nowhere, "ochre-has-no-such-package")


def test_a_wheel_in_a_folder_that_pip_knows_is_found_without_an_index(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    assert not installer.is_in_wheel_folder("ochre-tiny==1.0")
    files = {
        "ochre_tiny-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: ochre-tiny\nVersion: 1.0\n",
        "ochre_tiny-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "ochre_tiny-1.0.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(tmp_path / "ochre_tiny-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    assert installer.is_in_wheel_folder("ochre-tiny==1.0")
    assert not installer.is_in_wheel_folder("ochre-tiny==2.0")


def test_names_on_a_list() -> None:
    text = (
        "# torch==1\n--extra-index-url https://example.org\nHuggingface_Hub==2.4.0\nbits.and==1; python_version>'3'\n"
    )
    assert installer.required_names(text) == ["huggingface-hub", "bits-and"]


def test_every_requirement_is_pinned_and_torchvision_is_not_among_them() -> None:
    for name in (installer.GLOBAL_LIST, installer.DEV_LIST, *installer.PLATFORM_LISTS):
        lines = [line for line in (installer.ROOT / name).read_text().splitlines() if line and line[0] not in "#-"]
        assert lines
        assert all("==" in line.partition(";")[0] for line in lines), name
        assert "torchvision" not in installer.required_names("\n".join(lines))
    for name in installer.PLATFORM_LISTS:
        assert installer.pinned_torch(name) == "2.13.0"


def test_bitsandbytes_is_left_out_where_it_has_no_wheel() -> None:
    lines = (installer.ROOT / installer.GLOBAL_LIST).read_text().splitlines()
    marker = Requirement(next(line for line in lines if line.startswith("bitsandbytes"))).marker
    assert marker is not None
    for system, machine, there in [
        ("linux", "x86_64", True),
        ("linux", "aarch64", True),
        ("win32", "AMD64", True),
        ("darwin", "arm64", True),
        ("darwin", "x86_64", False),
        ("linux", "ppc64le", False),
        ("linux", "i686", False),
    ]:
        assert marker.evaluate({"sys_platform": system, "platform_machine": machine}) == there, (system, machine)


def test_a_stamp_holds_only_while_everything_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installer, "stamp_file", lambda name: tmp_path / name)
    assert not Stamp.read("list").holds("key")
    Stamp("key", ("pytest",), "2.13.0").write("list")
    assert Stamp.read("list") == Stamp("key", ("pytest",), "2.13.0")
    assert Stamp.read("list").holds("key")
    assert not Stamp.read("list").holds("another key")
    Stamp("key", ("pytest", "ochre-has-no-such-package"), "").write("list")
    assert not Stamp.read("list").holds("key")
    (tmp_path / "list").write_text('{"key": ')
    assert Stamp.read("list") == Stamp()


def test_the_key_changes_with_each_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(installer, "ROOT", tmp_path)
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text("x==1\n")
    before = installer.key_of("a.txt", "b.txt")
    assert before == installer.key_of("a.txt", "b.txt")
    assert before != installer.key_of("a.txt")
    (tmp_path / "b.txt").write_text("x==2\n")
    assert before != installer.key_of("a.txt", "b.txt")


def test_the_probe_finds_the_torch_of_this_environment() -> None:
    found = installer.probe_torch()
    assert found is not None
    assert found.version == importlib.metadata.version("torch")
    assert found.error is None


def test_a_python_that_is_too_old_is_told_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 10, 4))
    assert installer.main([]) == 1
    assert "3.11 or newer" in capsys.readouterr().err


def test_it_needs_the_standard_library_only() -> None:
    code = (
        "import runpy, sys; sys.argv = ['installer.py', '--help']; runpy.run_path('installer.py', run_name='__main__')"
    )
    command = [sys.executable, "-I", "-S", "-c", code]
    result = subprocess.run(command, cwd=installer.ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "--platform-requirements" in result.stdout
