"""The launch scripts, run for real in a copy of Ochre's folder whose requirements are tiny wheels in a folder."""

import fcntl
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = ("lib.include.sh", "install.sh", "update.sh", "start-ui.sh", "run-cmd.sh", "installer.py")
SHOW = """
import json, os, sys
import core
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "core": core.NAME, "prefix": sys.prefix}))
sys.exit(int(os.environ.get("SHOW_STATUS", "0")))
"""
TORCH = (
    "from types import SimpleNamespace as N\nversion = N(cuda={cuda}, hip=None)\ncuda = N(is_available=lambda: False)\n"
)
PACKAGES = {
    "diffusers": "StableDiffusionPipeline = object\n",
    "transformers": "CLIPTextModel = object\n",
    "jupyterlab": "",
}
PRINT_ARGUMENTS = "import os, sys\nprint(sys.argv[1:], os.environ.get('OMP_NUM_THREADS'))\n"


def make_wheel(folder: Path, name: str, version: str, code: str, main: str | None = None) -> Path:
    """A wheel with one package of one or two modules."""
    info = f"{name}-{version}.dist-info"
    files = {
        f"{name}/__init__.py": code,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if main is not None:
        files[f"{name}/__main__.py"] = main
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    wheel = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return wheel


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python3.*/site-packages"))


@dataclass
class House:
    """A copy of Ochre's folder, and what its scripts see of the machine."""

    root: Path
    wheels: Path
    host: Path

    def run(self, *command: str, folder: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder or self.root, env=self.environment(variables), capture_output=True, text=True
        )

    def environment(self, variables: dict[str, str]) -> dict[str, str]:
        plain = {key: value for key, value in os.environ.items() if not key.startswith(("OT_", "PIP_", "PYTHON"))}
        own = {
            "OT_PYTHON_CMD": str(self.host / "bin/python"),
            "OT_PLATFORM_REQUIREMENTS": "requirements-default.txt",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.wheels),
            "PIP_CONFIG_FILE": os.devnull,
        }
        return {**plain, **own, **variables}

    def show(self, *arguments: str, **variables: str) -> dict:
        """Runs the command `show`, which must succeed, and returns what it saw."""
        result = self.run("./run-cmd.sh", "show", *arguments, folder=None, **variables)
        assert result.returncode == 0, result.stdout + result.stderr
        return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bare Python that makes environments; it has no torch, whatever this machine's own has."""
    folder = tmp_path_factory.mktemp("host") / "python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    return folder


def build_house(folder: Path, host: Path) -> House:
    house = House(folder / "my house", folder / "wheels", host)
    (house.root / "scripts").mkdir(parents=True)
    (house.root / "core").mkdir()
    house.wheels.mkdir()
    for name in LAUNCH_FILES:
        shutil.copy2(ROOT / name, house.root / name)
    (house.root / "core/__init__.py").write_text("NAME = 'core'\n")
    (house.root / "scripts/__init__.py").write_text("")
    (house.root / "scripts/show.py").write_text(SHOW)
    shutil.copy2(ROOT / "scripts/test.py", house.root / "scripts/test.py")
    for name, code in PACKAGES.items():
        make_wheel(house.wheels, name, "1.0", code, PRINT_ARGUMENTS)
    make_wheel(house.wheels, "pytest", "1.0", "", PRINT_ARGUMENTS)
    make_wheel(house.wheels, "torch", "2.13.0", TORCH.format(cuda=None))
    (house.root / "requirements-global.txt").write_text("".join(f"{name}==1.0\n" for name in PACKAGES))
    (house.root / "requirements-dev.txt").write_text("pytest==1.0\n")
    for name in ("default", "cuda", "rocm"):
        (house.root / f"requirements-{name}.txt").write_text("torch==2.13.0\n")
    return house


@pytest.fixture
def house(tmp_path: Path, host: Path) -> House:
    """A house on a machine that has nothing yet."""
    return build_house(tmp_path, host)


@pytest.fixture(scope="module")
def lived_in(tmp_path_factory: pytest.TempPathFactory, host: Path) -> tuple[House, str]:
    """A house after its first command, and what that printed."""
    house = build_house(tmp_path_factory.mktemp("first"), host)
    result = house.run("./run-cmd.sh", "show")
    assert result.returncode == 0, result.stdout + result.stderr
    return house, result.stdout


@pytest.fixture
def ready(tmp_path: Path, lived_in: tuple[House, str]) -> House:
    """A copy of the house with its environment, to change at will."""
    first, _ = lived_in
    copied = House(tmp_path / "my house", tmp_path / "wheels", first.host)
    shutil.copytree(first.root, copied.root, symlinks=True)
    shutil.copytree(first.wheels, copied.wheels)
    return copied


@pytest.mark.slow
def test_first_start_makes_the_environment_and_says_why(lived_in: tuple[House, str]) -> None:
    house, printed = lived_in
    assert f"Makes the environment {house.root / '.venv'}" in printed
    assert "Installs with requirements-default.txt: you chose it" in printed
    assert "Installing torch==2.13.0" in printed
    assert json.loads(printed.splitlines()[-1])["prefix"] == str(house.root / ".venv")


def test_arguments_arrive_unchanged(ready: House) -> None:
    arguments = ["a b", "", '"quoted"', "it's", "*", "$HOME", "--x=1;2", "back\\slash", "-h", "ü\nnew line"]
    seen = ready.show(*arguments)
    assert seen["arguments"] == arguments
    assert seen["core"] == "core"


def test_the_status_of_the_command_is_returned(ready: House) -> None:
    assert ready.run("./run-cmd.sh", "show", SHOW_STATUS="7").returncode == 7


def test_it_runs_in_its_own_folder_from_anywhere_and_through_a_link(ready: House, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(ready.root / "run-cmd.sh")
    result = ready.run(str(tmp_path / "link"), "show", folder=tmp_path)
    assert json.loads(result.stdout)["folder"] == str(ready.root)


def test_second_start_says_nothing_and_runs_no_pip(ready: House) -> None:
    (site_packages(ready.root / ".venv") / "pip/__main__.py").write_text("raise SystemExit('pip ran')")
    result = ready.run("./run-cmd.sh", "show")
    assert result.returncode == 0
    assert len(result.stdout.splitlines()) == 1
    assert result.stderr == ""


@pytest.mark.parametrize("name", ["", "nope", "../installer", "show.py", "sh ow", "show;ls", "__init__", "-h"])
def test_a_name_that_is_not_there_is_refused_before_an_environment_is_made(house: House, name: str) -> None:
    result = house.run("./run-cmd.sh", *([name] if name else []))
    assert result.returncode == 1
    assert "There are: show test" in result.stderr
    assert not (house.root / ".venv").exists()


def test_wrong_settings_are_named_with_the_right_ones(house: House) -> None:
    result = house.run("./run-cmd.sh", "show", OT_PLATFORM_REQUIREMENTS="requirements-tpu.txt")
    assert result.returncode == 1
    for name in ("detect", "requirements-cuda.txt", "requirements-rocm.txt", "requirements-default.txt"):
        assert name in result.stderr
    result = house.run("./run-cmd.sh", "show", OT_SCRIPT_DEBUG="yes")
    assert result.returncode == 1
    assert "true, false" in result.stderr
    assert not (house.root / ".venv").exists()


def test_debug_lines_come_only_when_asked_for(ready: House) -> None:
    assert "Debug:" in ready.run("./run-cmd.sh", "show", OT_SCRIPT_DEBUG="true").stderr


def narrow_path(folder: Path, **programs: str) -> str:
    """A PATH with what the scripts themselves need, and these programs, each a shell script of one line."""
    folder.mkdir()
    for name in ("bash", "env", "dirname", "basename", "readlink", "tail", "id", "uname"):
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    for name, line in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / name).chmod(0o755)
    return str(folder)


def test_no_python_and_one_that_is_too_old(house: House, tmp_path: Path) -> None:
    nothing = narrow_path(tmp_path / "nothing")
    result = house.run("./run-cmd.sh", "show", PATH=nothing, OT_PYTHON_CMD="")
    assert result.returncode == 1
    assert "Found no Python" in result.stderr
    old = narrow_path(tmp_path / "old", python="[ $1 = --version ] && echo Python 3.9.2; exit 1")
    result = house.run("./run-cmd.sh", "show", PATH=old, OT_PYTHON_CMD="")
    assert result.returncode == 1
    assert "3.11 or newer" in result.stderr
    assert "python (Python 3.9.2)" in result.stderr
    result = house.run("./run-cmd.sh", "show", OT_PYTHON_CMD="python-of-mine")
    assert "there is no python-of-mine" in result.stderr


@pytest.mark.slow
def test_python3_is_taken_where_there_is_no_python(house: House, tmp_path: Path) -> None:
    path = narrow_path(tmp_path / "bin", python3=f'exec "{house.host}/bin/python" "$@"')
    seen = house.show(PATH=path, OT_PYTHON_CMD="", OT_PYTHON_VENV="other place/env")
    assert seen["prefix"] == str(house.root / "other place/env")


def test_an_absolute_environment_elsewhere_is_used(ready: House, tmp_path: Path) -> None:
    shutil.move(ready.root / ".venv", tmp_path / "elsewhere")
    assert ready.show(OT_PYTHON_VENV=str(tmp_path / "elsewhere"))["prefix"] == str(tmp_path / "elsewhere")
    assert not (ready.root / ".venv").exists()


def test_a_folder_that_is_no_environment_is_left_alone(house: House) -> None:
    (house.root / "pictures").mkdir()
    (house.root / "pictures/cat.png").write_text("cat")
    result = house.run("./run-cmd.sh", "show", OT_PYTHON_VENV="pictures")
    assert result.returncode == 1
    assert "no Python environment" in result.stderr
    assert [file.name for file in (house.root / "pictures").iterdir()] == ["cat.png"]


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["Makes the environment", "Installing torch", "Checks that"])
def test_an_install_that_was_killed_is_finished_by_the_next_start(house: House, moment: str) -> None:
    process = subprocess.Popen(
        ["./run-cmd.sh", "show"],
        cwd=house.root,
        env=house.environment({}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert any(moment in line for line in process.stdout)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert house.show("again")["arguments"] == ["again"]
    assert len(house.run("./run-cmd.sh", "show").stdout.splitlines()) == 1


def test_a_package_that_pip_was_killed_in_is_installed_again(ready: House) -> None:
    packages = site_packages(ready.root / ".venv")
    (packages / "diffusers/__init__.py").unlink()
    (packages / "diffusers-1.0.dist-info/RECORD").unlink()
    (packages / "ochre-requirements-global.json").unlink()
    assert "diffusers-1.0.dist-info was only half installed" in ready.run("./run-cmd.sh", "show").stdout
    assert (packages / "diffusers/__init__.py").exists()


def test_a_package_that_was_lost_is_installed_again(ready: House) -> None:
    packages = site_packages(ready.root / ".venv")
    shutil.rmtree(packages / "transformers-1.0.dist-info")
    ready.show()
    assert (packages / "transformers-1.0.dist-info").exists()


@pytest.mark.slow
def test_an_environment_whose_python_is_gone_is_made_anew(ready: House) -> None:
    for link in (ready.root / ".venv/bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nonexistent/python")
    result = ready.run("./run-cmd.sh", "show")
    assert result.returncode == 0, result.stderr
    assert "doesn't start any more" in result.stdout


def test_a_python_without_pip_for_environments_is_explained(house: House, tmp_path: Path) -> None:
    (tmp_path / "ensurepip.py").write_text("raise SystemExit('ensurepip is not available')")
    result = house.run("./run-cmd.sh", "show", PYTHONPATH=str(tmp_path))
    assert result.returncode == 1
    assert "apt install python3-venv" in result.stderr


def test_a_changed_list_is_followed(ready: House) -> None:
    make_wheel(ready.wheels, "diffusers", "2.0", PACKAGES["diffusers"])
    file = ready.root / "requirements-global.txt"
    file.write_text(file.read_text().replace("diffusers==1.0", "diffusers==2.0"))
    ready.show()
    assert (site_packages(ready.root / ".venv") / "diffusers-2.0.dist-info").exists()


def test_our_own_torch_follows_its_list(ready: House) -> None:
    make_wheel(ready.wheels, "torch", "2.14.0", TORCH.format(cuda=None))
    (ready.root / "requirements-default.txt").write_text("torch==2.14.0\n")
    assert "Replaces torch 2.13.0: the list asks for 2.14.0 now" in ready.run("./run-cmd.sh", "show").stdout


def test_a_torch_that_the_user_put_there_is_kept(ready: House) -> None:
    wheel = make_wheel(ready.wheels, "torch", "2.15.0", TORCH.format(cuda=None))
    python = str(ready.root / ".venv/bin/python")
    assert ready.run(python, "-m", "pip", "install", "--quiet", str(wheel)).returncode == 0
    assert "Keeps torch 2.15.0" in ready.run("./run-cmd.sh", "show").stdout


def test_a_torch_without_cuda_is_replaced_where_a_gpu_came(ready: House) -> None:
    make_wheel(ready.wheels, "torch", "2.13.0", TORCH.format(cuda="'13.0'"))
    result = ready.run("./run-cmd.sh", "show", OT_PLATFORM_REQUIREMENTS="requirements-cuda.txt")
    assert "Replaces torch 2.13.0: it is a build without CUDA" in result.stdout
    assert "torch can't use it" in result.stdout  # this one's driver serves it nothing
    assert "13.0" in (site_packages(ready.root / ".venv") / "torch/__init__.py").read_text()


@pytest.mark.slow
@pytest.mark.parametrize(("version", "kept"), [("2.6.1", True), ("2.5.0", False)])
def test_a_working_torch_of_the_machine_is_used(house: House, tmp_path: Path, version: str, kept: bool) -> None:
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "image"], check=True)
    with zipfile.ZipFile(make_wheel(tmp_path, "torch", version, TORCH.format(cuda=None))) as wheel:
        wheel.extractall(site_packages(tmp_path / "image"))
    house.host = tmp_path / "image"
    result = house.run("./run-cmd.sh", "show")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (f"This Python has a working torch {version}" in result.stdout) == kept
    assert (f"Keeps torch {version}" in result.stdout) == kept
    assert (site_packages(house.root / ".venv") / "torch").exists() != kept


def test_a_torchvision_that_does_not_fit_is_found_with_the_command_that_helps(ready: House) -> None:
    broken = "raise RuntimeError('operator torchvision::nms does not exist')\n"
    python = str(ready.root / ".venv/bin/python")
    wheel = make_wheel(ready.wheels, "torchvision", "0.20.0", broken)
    assert ready.run(python, "-m", "pip", "install", "--quiet", str(wheel)).returncode == 0
    result = ready.run("./run-cmd.sh", "show")
    assert result.returncode == 0  # nothing of ours imports it here: a warning
    assert f"{python} -m pip uninstall -y torchvision" in result.stdout

    packages = site_packages(ready.root / ".venv")
    (packages / "diffusers/__init__.py").write_text("import torchvision\nStableDiffusionPipeline = object\n")
    result = ready.run("./install.sh", "--upgrade")
    assert result.returncode == 1
    assert f"{python} -m pip uninstall -y torchvision" in result.stderr
    assert ready.run("./run-cmd.sh", "show").returncode == 1


def test_an_import_that_fails_stops_the_start(ready: House) -> None:
    (site_packages(ready.root / ".venv") / "transformers/__init__.py").write_text("import missing_thing\n")
    result = ready.run("./install.sh", "--upgrade")
    assert result.returncode == 1
    assert "No module named 'missing_thing'" in result.stderr


def test_a_missing_package_is_explained(ready: House) -> None:
    with (ready.root / "requirements-global.txt").open("a") as file:
        file.write("not_in_the_folder==1.0\n")
    result = ready.run("./run-cmd.sh", "show")
    assert result.returncode == 1
    assert "There is no not_in_the_folder==1.0 for Python" in result.stderr


def test_a_second_start_waits_for_the_first(ready: House) -> None:
    with (ready.root / "installer.py").open() as first:
        fcntl.flock(first, fcntl.LOCK_EX)
        second = subprocess.Popen(
            ["./install.sh", "--upgrade"],
            cwd=ready.root,
            env=ready.environment({}),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert second.stdout is not None
        assert "waiting for it" in second.stdout.readline()
        time.sleep(0.2)
        assert second.poll() is None
    rest, _ = second.communicate(timeout=60)
    assert second.returncode == 0, rest


def test_start_ui_passes_its_arguments_and_opens_our_folder(ready: House) -> None:
    result = ready.run("./start-ui.sh", "--port", "9999", "--ip=0.0.0.0", DISPLAY="", WAYLAND_DISPLAY="")
    assert result.returncode == 0
    *said, arguments = result.stdout.splitlines()
    assert f"'--ServerApp.root_dir={ready.root}'" in arguments
    assert "'--port', '9999', '--ip=0.0.0.0']" in arguments
    if sys.platform == "linux":
        assert "--no-browser" in arguments
        assert "open the address" in said[0]


def test_the_test_command_adds_what_tests_need_and_gives_its_arguments_to_pytest(ready: House) -> None:
    packages = site_packages(ready.root / ".venv")
    assert not (packages / "pytest").exists()
    result = ready.run("./run-cmd.sh", "test", "tests/core", "-k", "not slow", OMP_NUM_THREADS="8")
    assert result.returncode == 0, result.stderr
    assert "Installs what the tests need" in result.stdout
    assert result.stdout.splitlines()[-1] == "['tests/core', '-k', 'not slow'] 1"
    assert len(ready.run("./run-cmd.sh", "test", "-x").stdout.splitlines()) == 1


def git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def cloned(ready: House, tmp_path: Path) -> tuple[House, Path]:
    """A house that is a clone with its environment, and the repository that it came from."""
    origin = tmp_path / "origin"
    shutil.copytree(ready.root, origin, ignore=shutil.ignore_patterns(".venv", "__pycache__"))
    (origin / ".gitignore").write_text(".venv/\n__pycache__/\n")
    git(origin, "init", "-q", "-b", "main")
    git(origin, "add", ".")
    git(origin, "commit", "-q", "-m", "first")
    git(tmp_path, "clone", "-q", str(origin), "clone")
    shutil.move(ready.root / ".venv", tmp_path / "clone/.venv")
    return House(tmp_path / "clone", ready.wheels, ready.host), origin


def test_update_fetches_the_newest_version_and_upgrades(cloned: tuple[House, Path]) -> None:
    house, origin = cloned
    make_wheel(house.wheels, "diffusers", "2.0", PACKAGES["diffusers"])
    file = origin / "requirements-global.txt"
    file.write_text(file.read_text().replace("diffusers==1.0", "diffusers==2.0"))
    (origin / "update.sh").write_text("#!/usr/bin/env bash\nexit 9\n")
    git(origin, "commit", "-q", "-a", "-m", "second")
    (house.root / "core/__init__.py").write_text("NAME = 'changed, but not in the way'\n")
    result = house.run("./update.sh")
    assert result.returncode == 0, result.stdout + result.stderr
    assert (site_packages(house.root / ".venv") / "diffusers-2.0.dist-info").exists()
    assert "exit 9" in (house.root / "update.sh").read_text()


def test_update_names_the_changes_that_are_in_its_way(cloned: tuple[House, Path]) -> None:
    house, origin = cloned
    (origin / "core/__init__.py").write_text("NAME = 'theirs'\n")
    git(origin, "commit", "-q", "-a", "-m", "second")
    (house.root / "core/__init__.py").write_text("NAME = 'mine'\n")
    result = house.run("./update.sh")
    assert result.returncode == 1
    assert "core/__init__.py" in result.stderr
    assert "git stash" in result.stderr
    assert "mine" in (house.root / "core/__init__.py").read_text()


def test_update_without_a_remote_or_a_clone_says_so(cloned: tuple[House, Path], ready: House) -> None:
    clone, _ = cloned
    git(clone.root, "remote", "remove", "origin")
    result = clone.run("./update.sh")
    assert result.returncode == 1
    assert "no remote branch" in result.stderr
    result = ready.run("./update.sh")
    assert result.returncode == 1
    assert "no git clone" in result.stderr
