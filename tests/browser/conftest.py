"""JupyterLab on loopback, and a Chromium that looks at it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium, closed with its module: as long as it is there, other tests would find a running loop."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium here; on Debian: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


class Lab:
    """A JupyterLab server on a folder that looks like Ochre's."""

    def __init__(self, folder: Path, settings: Path) -> None:
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        _quiet_settings(settings)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "XDG_CONFIG_HOME": str(settings / "config"),
            "JUPYTER_CONFIG_DIR": str(settings / "jupyter"),
            "OMP_NUM_THREADS": "1",
        }
        command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", f"--port={self.port}"]
        command += ["--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True", "--ServerApp.port_retries=0"]
        command += [f"--LabApp.user_settings_dir={settings / 'lab'}", f"--ServerApp.root_dir={folder}"]
        self._log = (settings / "server.log").open("w")
        self._process = subprocess.Popen(command, env=environment, stdout=self._log, stderr=self._log, cwd=folder)

    def wait(self, seconds: float = 90) -> None:
        """Until it answers."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self._process.poll() is None, Path(self._log.name).read_text()[-3000:]
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api", timeout=2)
            except (urllib.error.URLError, OSError):
                time.sleep(0.3)
            else:
                return
        raise AssertionError(f"JupyterLab did not start: {Path(self._log.name).read_text()[-3000:]}")

    def close(self) -> None:
        """End the server and its kernels."""
        self._process.terminate()
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
        self._log.close()

    def open(self, browser: Any, notebook: str, height: int = 1400) -> Any:
        """A page with the notebook, its kernel connected."""
        page = browser.new_page(viewport={"width": 1280, "height": height})
        page.goto(f"http://127.0.0.1:{self.port}/lab/tree/{notebook}?reset", timeout=90_000)
        page.wait_for_selector(".jp-Notebook", timeout=90_000)
        connected = """() => {
            const panel = window.jupyterapp?.shell?.currentWidget;
            return panel?.sessionContext?.session?.kernel?.connectionStatus === 'connected';
        }"""
        page.wait_for_function(connected, timeout=90_000)
        page.evaluate("() => window.jupyterapp.commands.execute('application:toggle-left-area')")
        return page


def _quiet_settings(folder: Path) -> None:
    """No question about news."""
    path = folder / "lab" / "@jupyterlab" / "apputils-extension" / "notification.jupyterlab-settings"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"fetchNews": "false", "checkForUpdates": False}))


@pytest.fixture(scope="session")
def start_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Lab]]:
    """Starts JupyterLab on a folder."""
    started: list[Lab] = []

    def start(folder: Path) -> Lab:
        lab = Lab(folder, tmp_path_factory.mktemp("lab"))
        started.append(lab)
        lab.wait()
        return lab

    yield start
    for lab in started:
        lab.close()


def run_all(page: Any) -> None:
    """Have every cell run, without waiting for them."""
    page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells'); }")
