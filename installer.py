"""Fills a Python environment with what Ochre needs: finds the GPU, keeps a working torch, installs what is missing.

The launch scripts call it. On Colab it is called alone, `python installer.py`, and installs into the running Python.
It needs the standard library only, and Python 3.11 or newer.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent
GLOBAL_LIST = "requirements-global.txt"
DEV_LIST = "requirements-dev.txt"
PLATFORM_LISTS = ("requirements-cuda.txt", "requirements-rocm.txt", "requirements-default.txt")

OLDEST_TORCH = (2, 6)
OLDEST_NUMPY = (2, 0)  # a numpy 1 that came with torch is replaced: the pinned packages are built for numpy 2
COMPANIONS = ("torchvision", "torchaudio", "triton", "pytorch-triton-rocm", "numpy")

# Colab's own kernel holds these to versions of its own; another one would break the notebook that is running.
COLAB_KEEPS = ("ipykernel", "ipython", "jupyter-client", "jupyter-server", "notebook", "requests", "tornado")
COLAB_SKIPS = ("jupyterlab", "nbclient", "nbval")

JUPYTER_PARTS = ("ipykernel", "ipywidgets", "jupyterlab", "jupyterlab-widgets", "widgetsnbextension")

PROBE = """
import importlib.metadata, json
torch_package = importlib.metadata.distribution("torch")
found = {"version": torch_package.version, "location": str(torch_package.locate_file(""))}
found.update(cuda=None, hip=None, gpu=False, error=None)
try:
    import torch
    found.update(cuda=torch.version.cuda, hip=torch.version.hip)
    found["gpu"] = torch.cuda.is_available()
except Exception as error:
    found["error"] = f"{type(error).__name__}: {error}"
print(json.dumps(found))
"""

PROOF = """
import torch, transformers
from diffusers import StableDiffusionPipeline
from transformers import CLIPTextModel
"""


class InstallError(Exception):
    """The install can't go on; the message says why and what to do."""


def say(text: str) -> None:
    print(f"[Ochre] {text}", flush=True)


# ---------------------------------------------------------------------------------------------------- the machine


@dataclass(frozen=True)
class Platform:
    """The list of requirements that fits the machine, and what was found that speaks for it."""

    list_name: str
    reason: str
    nvidia_smi: str | None = None


def detect_platform(root: Path = Path("/"), search_path: str | None = None) -> Platform:
    """Looks for an NVIDIA GPU first, then AMD: a machine with both has an integrated AMD one beside the NVIDIA card.

    `root` and `search_path` (as in PATH) stand for another machine's in tests.
    """
    wsl = root / "usr/lib/wsl/lib/nvidia-smi"  # under WSL it is often not on the PATH
    nvidia_smi = shutil.which("nvidia-smi", path=search_path) or (str(wsl) if wsl.exists() else None)
    for found in (root / "dev/nvidia0", nvidia_smi):
        if found is not None and Path(found).exists():
            return Platform("requirements-cuda.txt", f"found an NVIDIA GPU ({found})", nvidia_smi)
    if (root / "dev/kfd").exists():
        return Platform("requirements-rocm.txt", f"found an AMD GPU ({root / 'dev/kfd'})")
    return Platform("requirements-default.txt", "found neither an NVIDIA nor an AMD GPU")


def choose_platform(asked: str) -> Platform:
    """The machine's own platform for `detect`, else the one that the user named."""
    platform = detect_platform()
    if asked == "detect":
        return platform
    if asked not in PLATFORM_LISTS:
        raise InstallError(f"'{asked}' is no list of requirements. Use one of: detect, {', '.join(PLATFORM_LISTS)}.")
    return Platform(asked, f"you chose it (the machine: {platform.reason})", platform.nvidia_smi)


def driver_cuda(nvidia_smi: str | None) -> int | None:
    """The major version of CUDA that the NVIDIA driver serves, as nvidia-smi's first lines tell; None if they don't."""
    if nvidia_smi is None:
        return None
    try:
        shown = subprocess.run([nvidia_smi], capture_output=True, text=True, timeout=30).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"CUDA(?: \w+)? Version:\s*(\d+)", shown)
    return int(match[1]) if match else None


# ------------------------------------------------------------------------------------------------------------ pip


def run_pip(*arguments: str) -> None:
    """Runs pip in this Python and shows what it says; a failure becomes an InstallError that says what to do."""
    command = [sys.executable, "-m", "pip", *arguments]
    complaints: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            print(line, end="", file=sys.stderr, flush=True)
            complaints.append(line)
    if process.returncode != 0:
        raise InstallError(explain_pip("".join(complaints[-200:]), " ".join(arguments)))


def explain_pip(complaints: str, command: str) -> str:
    """Says in words what pip's complaints mean, and what to do."""
    go_on = "Then start again: it goes on from here."
    if re.search(r"No space left on device|Errno 28|Disk quota exceeded", complaints):
        return (
            "The disk is full. Make room (`df -h` shows how much there is; an environment takes about 2 GB without a "
            f"GPU and 8 GB with one) or put it on another disk with OT_PYTHON_VENV=/other/disk/ochre. {go_on}"
        )
    if "externally-managed-environment" in complaints:
        return "This Python belongs to the system and takes no packages. Use ./install.sh, which makes its own."
    if re.search(r"NewConnectionError|ConnectionError|ProxyError|Connect(Read)?Timeout|Read timed out", complaints):
        return f"pip could not reach the package index. Look at the network and at any proxy. {go_on}"
    if missing := re.search(r"No matching distribution found for (\S+)", complaints):
        version = f"Python {sys.version_info.major}.{sys.version_info.minor} on {sysconfig.get_platform()}"
        return (
            f"There is no {missing[1]} for {version}, or the index is out of reach. Try another Python "
            "(3.11 to 3.13): delete the environment, set OT_PYTHON_CMD, and start again."
        )
    if re.search(r"ResolutionImpossible|conflicting dependencies", complaints):
        return f"The packages that are here don't go together with Ochre's; pip says above which. ({command})"
    return f"pip failed; it says why above. ({command})"


def normal(name: str) -> str:
    """A distribution's name as pip compares names."""
    return re.sub(r"[-_.]+", "-", name).lower()


def required_names(text: str) -> list[str]:
    """The names on a requirements list, normalised, in its order."""
    return [normal(match[0]) for line in text.splitlines() if (match := re.match(r"[A-Za-z0-9][\w.-]*", line))]


def installed_version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def in_environment() -> bool:
    return sys.prefix != sys.base_prefix


def package_folder(name: str) -> Path:
    """The folder that an installed package lies in."""
    return Path(str(importlib.metadata.distribution(name).locate_file("")))


def is_ours(name: str) -> bool:
    """Whether a package lies in this environment itself, and not in the Python below it."""
    return in_environment() and installed_version(name) is not None and package_folder(name).is_relative_to(sys.prefix)


def numbers(version: str) -> tuple[int, ...]:
    """Major and minor of a version: (2, 13) of 2.13.0+cpu."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:2])


# ---------------------------------------------------------------------------------------------------------- torch


@dataclass(frozen=True)
class Torch:
    """An installed torch, as a process of its own found it; `error` is what its import said, None if it works."""

    version: str
    location: str
    cuda: str | None
    hip: str | None
    gpu: bool
    error: str | None

    @property
    def release(self) -> str:
        """The version without its build: 2.13.0 of 2.13.0+cpu."""
        return self.version.partition("+")[0]


def probe_torch() -> Torch | None:
    """The torch that this Python imports, or None."""
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True)
    if result.returncode != 0:
        return None
    return Torch(**json.loads(result.stdout.splitlines()[-1]))


def why_not_kept(torch: Torch, list_name: str) -> str | None:
    """Why a torch that is here is no use to Ochre on this machine; None if it is."""
    if torch.error is not None:
        return f"its import fails ({torch.error})"
    if numbers(torch.version) < OLDEST_TORCH:
        return f"Ochre needs {'.'.join(map(str, OLDEST_TORCH))} or newer"
    if list_name == "requirements-cuda.txt" and torch.cuda is None:
        return "it is a build without CUDA"
    if list_name == "requirements-rocm.txt" and torch.hip is None:
        return "it is a build without ROCm"
    return None


def pinned_torch(list_name: str) -> str:
    """The version of torch that a platform list asks for."""
    match = re.search(r"^torch==([^\s+]+)", (ROOT / list_name).read_text(), re.MULTILINE)
    assert match is not None, f"{list_name} pins no torch"
    return match[1]


def install_torch(platform: Platform) -> None:
    """Installs the pinned torch, alone, so that nothing else has a say in which build it is."""
    requirement = f"torch=={pinned_torch(platform.list_name)}"
    text = (ROOT / platform.list_name).read_text()
    if platform.list_name == "requirements-default.txt" and is_in_wheel_folder(requirement):
        text = requirement  # it came with the machine: no need to ask PyTorch's index, which may be out of reach
    elif platform.list_name == "requirements-cuda.txt":
        cuda = driver_cuda(platform.nvidia_smi)
        if cuda is not None and cuda < 13:
            say(f"The NVIDIA driver serves CUDA {cuda}: takes torch for CUDA 12.6 (cu126) and not for 13 (cu130).")
            text = text.replace("/cu130", "/cu126")
    say(f"Installing {requirement}. This takes a while.")
    with written(text) as file:
        run_pip("install", "-r", file)


def is_in_wheel_folder(requirement: str) -> bool:
    """Whether pip finds it without any index, in a folder of wheels that this machine's pip is set to look into."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--dry-run", "--no-index", "--no-deps", requirement]
    return subprocess.run(command, capture_output=True, stdin=subprocess.DEVNULL).returncode == 0


def settle_torch(platform: Platform, before: Stamp) -> Torch:
    """Keeps the torch that is here if it is of use, else installs the pinned one."""
    torch = probe_torch()
    if torch is not None:
        pinned = pinned_torch(platform.list_name)
        reason = why_not_kept(torch, platform.list_name)
        if reason is None and torch.version == before.torch and torch.release != pinned:
            reason = f"the list asks for {pinned} now"
        if reason is None:
            say(f"Keeps torch {torch.version}, which works here ({torch.location}).")
            return torch
        say(f"Replaces torch {torch.version}: {reason}.")
        if is_ours("torch"):
            run_pip("uninstall", "-y", "torch")  # its build has the same version as the one to come
    install_torch(platform)
    torch = probe_torch()
    if torch is None or torch.error is not None:
        raise InstallError(f"torch was installed, but its import fails: {torch.error if torch else 'it is not there'}.")
    if reason := why_not_kept(torch, platform.list_name):
        say(f"Warning: torch {torch.version} was installed, but {reason}.")
    return torch


def check_torchvision() -> str | None:
    """None if torchvision is missing or fits its torch; else what to do about it."""
    if installed_version("torchvision") is None:
        return None
    result = subprocess.run([sys.executable, "-c", "import torchvision"], capture_output=True, text=True)
    if result.returncode == 0:
        return None
    owner = sys.executable
    if in_environment() and not is_ours("torchvision"):
        below = package_folder("torchvision").parents[2] / "bin" / "python"
        owner = str(below) if below.exists() else str(Path(sys.base_prefix) / "bin" / "python3")
    return (
        f"torchvision {installed_version('torchvision')} doesn't fit torch {installed_version('torch')} "
        f"({last_line(result.stderr)}), and such a one breaks diffusers. Ochre doesn't need it. Remove it:\n"
        f"    {owner} -m pip uninstall -y torchvision"
    )


def last_line(text: str) -> str:
    lines = text.strip().splitlines()
    return lines[-1] if lines else "no message"


# -------------------------------------------------------------------------------------------------- what is done


@dataclass(frozen=True)
class Stamp:
    """What an earlier install left: `key` stands for the lists it followed, empty while an install is under way."""

    key: str = ""
    packages: tuple[str, ...] = ()
    torch: str = ""

    @classmethod
    def read(cls, list_name: str) -> Stamp:
        try:
            values = json.loads(stamp_file(list_name).read_text())
            return cls(values["key"], tuple(values["packages"]), values["torch"])
        except (OSError, ValueError, KeyError, TypeError):
            return cls()  # none, or a broken one: then everything is looked at again

    def write(self, list_name: str) -> None:
        try:
            stamp_file(list_name).write_text(json.dumps(asdict(self)))
        except OSError as error:
            say(f"Could not note that the install is whole ({error}); the next start looks at everything again.")

    def holds(self, key: str) -> bool:
        """Whether the install is whole, follows these lists, and has lost none of their packages since."""
        return self.key == key and all(installed_version(name) is not None for name in self.packages)


def stamp_file(list_name: str) -> Path:
    return Path(sysconfig.get_path("purelib")) / f"ochre-{Path(list_name).stem}.json"


def key_of(*names: str) -> str:
    """A hash of the lists, the Python that they are for, and the torch and torchvision that are there now."""
    parts = [f"{sys.version} {installed_version('torch')} {installed_version('torchvision')}".encode()]
    for name in names:
        parts += [name.encode(), (ROOT / name).read_bytes()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


@contextlib.contextmanager
def written(text: str) -> Iterator[str]:
    """A temporary file with this text."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requirements.txt"
        file.write_text(text)
        yield str(file)


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Lets a second start wait until the first has installed everything."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    with Path(__file__).open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Another program is installing; waiting for it.")
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError:
            pass  # a network file system without locks: two installs at once are rare, and pip mends most of it
        yield


def remove_interrupted() -> None:
    """Removes the records of packages that pip was killed in, so that it installs them again.

    pip writes RECORD last; without it the package counts as installed although files are missing.
    """
    if not in_environment():
        return
    for folder in Path(sysconfig.get_path("purelib")).glob("*.dist-info"):
        if not (folder / "RECORD").exists():
            say(f"{folder.name} was only half installed; installs it again.")
            shutil.rmtree(folder)


def install_list(list_name: str, torch_version: str) -> list[str]:
    """Installs a list with torch and its companions held fast; returns the names on it that are installed."""
    text = (ROOT / list_name).read_text()
    kept = {"torch": torch_version}
    on_colab = installed_version("google-colab") is not None
    skipped = COLAB_SKIPS if on_colab else ()
    for name in (*COMPANIONS, *(COLAB_KEEPS if on_colab else ())):
        version = installed_version(name)
        if version is None or is_ours(name) or (name == "numpy" and numbers(version) < OLDEST_NUMPY):
            continue
        kept[name] = version
    lines = [line for line in text.splitlines() if not {*required_names(line)} & {*kept, *skipped}]
    constraints = "\n".join(f"{name}=={version}" for name, version in kept.items())
    with written("\n".join(lines)) as wanted, written(constraints) as held:
        run_pip("install", "-r", wanted, "-c", held)
    return [name for name in required_names(text) if installed_version(name) is not None]


def own_jupyter() -> None:
    """Puts Jupyter's parts into the environment itself where they were found in the Python below.

    JupyterLab looks for its pages and the widgets' scripts under its own environment only.
    """
    for name in JUPYTER_PARTS:
        version = installed_version(name)
        if in_environment() and version is not None and not is_ours(name):
            run_pip("install", "--ignore-installed", "--no-deps", f"{name}=={version}")


def quiet_jupyter() -> None:
    """Makes JupyterLab's question about news default to no; users' own settings stay above it."""
    if in_environment():
        folder = Path(sys.prefix) / "share" / "jupyter" / "lab" / "settings"
        folder.mkdir(parents=True, exist_ok=True)
        default = {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}
        (folder / "overrides.json").write_text(json.dumps(default))


def check_imports(torchvision_trouble: str | None) -> None:
    """Proves, in a process of its own, that what was installed can be imported."""
    result = subprocess.run([sys.executable, "-c", PROOF], capture_output=True, text=True)
    if result.returncode == 0:
        if torchvision_trouble is not None:
            say(f"Warning: {torchvision_trouble}")
        return
    if torchvision_trouble is not None:
        raise InstallError(torchvision_trouble)
    print(result.stderr, file=sys.stderr)
    raise InstallError(
        f"Everything is installed, but its import fails: {last_line(result.stderr)}. If packages of your own are in "
        "this environment, they may not go together with Ochre's: name a new one with OT_PYTHON_VENV, and start again."
    )


def fill(asked: str, upgrade: bool) -> None:
    """Installs what is missing for this machine; returns at once when nothing is."""
    platform = choose_platform(asked)
    lists = (GLOBAL_LIST, platform.list_name)
    if Stamp.read(GLOBAL_LIST).holds(key_of(*lists)) and not upgrade:
        return
    with one_at_a_time():
        before = Stamp.read(GLOBAL_LIST)
        if before.holds(key_of(*lists)) and not upgrade:
            return  # the other program did it
        say(f"Installs with {platform.list_name}: {platform.reason}.")
        Stamp("", before.packages, before.torch).write(GLOBAL_LIST)
        remove_interrupted()
        torch = settle_torch(platform, before)
        packages = install_list(GLOBAL_LIST, torch.version)
        own_jupyter()
        quiet_jupyter()
        say("Checks that everything can be imported.")
        check_imports(check_torchvision())
        mine = torch.version if is_ours("torch") and torch.release == pinned_torch(platform.list_name) else ""
        Stamp(key_of(*lists), ("torch", *packages), mine).write(GLOBAL_LIST)
        say(f"Installed in {sys.prefix}: torch {torch.version}, {'with a GPU' if torch.gpu else 'on the CPU'}.")
        if platform.list_name != "requirements-default.txt" and not torch.gpu:
            say(
                "Warning: there should be a GPU, but torch can't use it, so training would run on the CPU. "
                "Its driver may be too old for this torch (nvidia-smi or rocminfo shows it), or the GPU is taken."
            )


def fill_dev() -> None:
    """Installs what the test command needs on top; returns at once when nothing is missing."""
    key = key_of(DEV_LIST)
    if Stamp.read(DEV_LIST).holds(key):
        return
    with one_at_a_time():
        say(f"Installs what the tests need: {DEV_LIST}.")
        torch_version = installed_version("torch")
        assert torch_version is not None, "the other lists come first"
        packages = install_list(DEV_LIST, torch_version)
        Stamp(key, tuple(packages)).write(DEV_LIST)


# ------------------------------------------------------------------------------------------------ the environment


def make_environment(folder: Path, asked: str) -> None:
    """Makes the virtual environment, or finishes or repairs it; sees the running Python's torch if that is of use."""
    python = folder / "bin" / "python"
    if not runs(python, "pass"):
        broken = (folder / "pyvenv.cfg").exists()
        if folder.exists() and any(folder.iterdir()) and not broken:
            raise InstallError(
                f"{folder} is there, but it is no Python environment. Name another with OT_PYTHON_VENV, or move it."
            )
        if broken:
            say(f"The Python of the environment {folder} doesn't start any more: makes it anew.")
        create(folder, asked)
    elif not runs(python, "import sys; sys.exit(sys.version_info < (3, 11))"):
        raise InstallError(
            f"The environment {folder} has a Python older than 3.11. Delete it (rm -r '{folder}') and start again, "
            "or name another with OT_PYTHON_VENV."
        )
    if not runs(python, "import pip"):
        result = subprocess.run([python, "-m", "ensurepip", "--default-pip"], capture_output=True, text=True)
        if result.returncode != 0:
            version = f"{sys.version_info.major}.{sys.version_info.minor}"
            raise InstallError(
                f"This Python brings no pip for new environments ({last_line(result.stderr)}). Debian and Ubuntu: "
                f"apt install python3-venv (or python{version}-venv). Then start again."
            )


def runs(python: Path, code: str) -> bool:
    try:
        return subprocess.run([python, "-c", code], capture_output=True).returncode == 0
    except OSError:
        return False  # not there, or a link to a Python that is gone


def create(folder: Path, asked: str) -> None:
    """Creates the environment without pip, which takes longest: killed in between, the next start adds it."""
    torch = probe_torch()
    list_name = choose_platform(asked).list_name
    shared = torch is not None and why_not_kept(torch, list_name) is None
    say(f"Makes the environment {folder} with {sys.executable}.")
    if shared:
        assert torch is not None
        say(f"This Python has a working torch {torch.version}: the environment uses it, and its other packages.")
    options = ["--without-pip", "--clear", *(["--system-site-packages"] if shared else [])]
    result = subprocess.run([sys.executable, "-m", "venv", *options, str(folder)], capture_output=True, text=True)
    if result.returncode != 0:
        raise InstallError(
            f"Could not make the environment {folder}: {last_line(result.stderr or result.stdout)}. If the module venv "
            "is missing: apt install python3-venv (Debian, Ubuntu)."
        )
    if shared and in_environment():
        # Python gives an environment made from another environment the packages of the base Python only.
        line = f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
        target = folder / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
        (target / "ochre-shared.pth").write_text(line)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--platform-requirements", default=os.environ.get("OT_PLATFORM_REQUIREMENTS") or "detect")
    parser.add_argument("--upgrade", action="store_true", help="look at every requirement again")
    parser.add_argument("--dev", action="store_true", help="add what the tests need")
    parser.add_argument("--make-environment", type=Path, metavar="FOLDER", help="make a virtual environment, no more")
    options = parser.parse_args(arguments)
    try:
        if sys.version_info < (3, 11):  # noqa: UP036 (on Colab this file meets whatever Python runs there)
            raise InstallError(
                f"Ochre needs Python 3.11 or newer; this is {sys.version.split()[0]} ({sys.executable})."
            )
        if options.make_environment is not None:
            make_environment(options.make_environment, options.platform_requirements)
        else:
            fill(options.platform_requirements, options.upgrade)
            if options.dev:
                fill_dev()
    except InstallError as error:
        print(f"[Ochre] {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
