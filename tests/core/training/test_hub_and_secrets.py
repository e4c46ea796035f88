"""A base by its name on the hub, fetched with a token that then stands nowhere: no file, no event, no log, no error."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from core.manager.training_executor import Job

COMMIT = "0" * 39 + "2"
TOKEN = "hf_VerySecretTokenOfAUser"

COMMAND = """
import logging, sys
logging.basicConfig(level=logging.DEBUG)
import scripts.train
for source, workspace in zip(sys.argv[2::2], sys.argv[3::2]):
    status = scripts.train.main(
        ["--config-path", sys.argv[1], "--workspace", workspace, "--set", f"base.source={source}"]
    )
    print("status", status)
"""


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub that a download uses, with one private model."""

    model: Path

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        if self.headers.get("Authorization") != f"Bearer {TOKEN}" or "owner/private" not in path:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"})
        elif "/resolve/" in path:
            content = (self.model / path.split("/resolve/")[1].partition("/")[2]).read_bytes()
            self.answer(200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            files = [file for file in self.model.rglob("*") if file.is_file()]
            names = {str(file.relative_to(self.model)): file.stat().st_size for file in files}
            if "/tree/" in path:
                body: object = [
                    {"type": "file", "path": name, "size": size, "oid": "0" * 40} for name, size in names.items()
                ]
            else:
                siblings = [{"rfilename": name} for name in names]
                body = {"id": "owner/private", "sha": COMMIT, "siblings": siblings}
            self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub(bases: dict[str, Path]) -> Iterator[str]:
    """The address of a hub on loopback."""
    handler = type("HubOfOne", (Hub,), {"model": bases["sd15"]})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
def test_a_private_model_is_trained_and_its_token_stands_nowhere(
    hub: str, run_toml: Callable[..., Path], tmp_path: Path
) -> None:
    sampling = {"prompts": [{"prompt": "x", "width": 64, "height": 64}], "steps": 1}
    changes = {"training": {"max_steps": 1}, "sampling": sampling, "logging": {"tensorboard": True}}
    config = run_toml("sd15", changes)
    good, bad = tmp_path / "good", tmp_path / "bad"
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub,
        "HF_TOKEN": TOKEN,
        "HF_HOME": str(tmp_path / "hub"),
        "HF_HUB_OFFLINE": "0",
    }
    ran = subprocess.run(
        [sys.executable, "-c", COMMAND, str(config), "owner/private", str(good), "owner/other", str(bad)],
        env=environment | {"OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "status 0" in ran.stdout, ran.stdout + ran.stderr
    assert "status 1" in ran.stdout
    assert Job(good).state == "finished"
    assert "There is no file or folder owner/other here, and no model of that name on the hub." in ran.stdout
    assert "run `hf auth login`, or set HF_TOKEN" in ran.stdout

    assert TOKEN not in ran.stdout + ran.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 20
    assert [path for path in written if TOKEN.encode() in path.read_bytes()] == []
