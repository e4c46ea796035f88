"""Sources: paths, near misses, and the hub, played by a server on loopback that serves a folder."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from core.errors import ModelFileError
from core.weights.diffusers_folders import weights_files
from core.weights.sources import resolve, wanted_files

COMMIT = "0" * 39 + "1"
TOKEN = "hf_secret"
FILES = {
    "model_index.json": '{"_class_name": "StableDiffusionPipeline"}',
    "README.md": "about",
    "whole.safetensors": "all in one",
    "unet/config.json": "{}",
    "unet/diffusion_pytorch_model.safetensors": "unet",
    "unet/diffusion_pytorch_model.fp16.safetensors": "rounded",
    "unet/diffusion_pytorch_model.non_ema.safetensors": "other",
    "unet/diffusion_pytorch_model.bin": "pickle",
    "vae/config.json": "{}",
    "vae/diffusion_pytorch_model.bin": "vae",
    "vae_encoder/model.onnx": "onnx",
    "text_encoder/config.json": "{}",
    "text_encoder/model.fp16.safetensors": "text",
    "text_encoder/flax_model.msgpack": "flax",
    "safety_checker/model.safetensors": "checker",
    "tokenizer/vocab.json": "{}",
    "scheduler/scheduler_config.json": "{}",
}
SMALL = {
    "model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json", "tokenizer/vocab.json",
    "scheduler/scheduler_config.json",
}  # fmt: skip
WEIGHTS = {
    "unet/diffusion_pytorch_model.safetensors",
    "vae/diffusion_pytorch_model.bin",
    "text_encoder/model.fp16.safetensors",
}


class Hub(http.server.BaseHTTPRequestHandler):
    """The hub's part that a download uses: a repository's list of files, and the files."""

    def log_message(self, *_):
        """Silent."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if path.startswith("/api/models/"):
            repository, _, tree = path.removeprefix("/api/models/").partition("/revision/")[0].partition("/tree/")
            self.answer_about(repository, tree)
        elif "/resolve/" in path:
            name = path.split("/resolve/")[1].partition("/")[2]
            content = FILES[name].encode()
            self.answer(200, content, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self.answer(404, b"")

    def answer_about(self, repository, tree):
        if repository == "owner/gated" or (
            repository == "owner/private" and self.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            code = "GatedRepo" if repository == "owner/gated" else "RepoNotFound"
            self.answer(403 if code == "GatedRepo" else 404, b"{}", {"X-Error-Code": code, "X-Error-Message": "no"})
        elif repository == "owner/broken":
            self.answer(500, b"{}")
        elif repository in ("owner/model", "owner/private", "owner/files"):
            names = ["whole.safetensors"] if repository == "owner/files" else list(FILES)
            if tree:
                body = [{"type": "file", "path": name, "size": len(FILES[name]), "oid": "0" * 40} for name in names]
            else:
                body = {"id": repository, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names]}
            self.answer(200, json.dumps(body).encode(), {"Content-Type": "application/json"})
        else:
            self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "no"})

    def answer(self, status, body, headers=()):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def hub():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def ask(hub_address, home, source, weights=True, **environment):
    """What `resolve` gives in a process of its own, for the hub's address is read once: the path, or the error."""
    code = """
import sys
from core.errors import ModelFileError
from core.weights.sources import resolve
try:
    print("path", resolve(sys.argv[1], weights=sys.argv[2] == "True"))
except ModelFileError as error:
    print("error", error)
"""
    settings = {"HF_ENDPOINT": hub_address, "HF_HOME": str(home), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **environment}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-c", code, source, str(weights)],
        env=inherited | settings, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    kind, _, text = done.stdout.strip().partition(" ")
    return kind, text


def address(hub):
    return f"http://127.0.0.1:{hub.server_port}"


def files_in(folder):
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


def test_a_hub_name_is_downloaded_each_weight_once(hub, tmp_path):
    kind, folder = ask(address(hub), tmp_path, "owner/model", weights=False)
    assert kind == "path", folder
    assert files_in(folder) == SMALL
    kind, folder = ask(address(hub), tmp_path, "https://huggingface.co/owner/model")
    assert kind == "path" and files_in(folder) == SMALL | WEIGHTS
    assert (Path(folder) / "unet/diffusion_pytorch_model.safetensors").read_text() == "unet"


def test_what_was_downloaded_is_found_without_the_hub(hub, tmp_path):
    _, folder = ask(address(hub), tmp_path, "owner/model")
    for environment in ({"HF_HUB_OFFLINE": "1"}, {}):
        assert ask("http://127.0.0.1:9", tmp_path, "owner/model", **environment) == ("path", folder)
    kind, text = ask("http://127.0.0.1:9", tmp_path, "owner/other")
    assert kind == "error" and "can't be reached" in text


def test_a_private_model_wants_a_token(hub, tmp_path):
    kind, text = ask(address(hub), tmp_path, "owner/private")
    assert kind == "error" and "HF_TOKEN" in text
    kind, folder = ask(address(hub), tmp_path, "owner/private", HF_TOKEN=TOKEN)
    assert kind == "path" and files_in(folder) == SMALL | WEIGHTS


@pytest.mark.parametrize(
    "name, words",
    [
        ("owner/gated", "accepted its terms"),
        ("owner/none", "no model of that name on the hub"),
        ("owner/files", "whole.safetensors"),
        ("owner/broken", "Try again later"),
    ],
)
def test_what_the_hub_does_not_give(hub, tmp_path, name, words):
    kind, text = ask(address(hub), tmp_path, name)
    assert kind == "error" and name in text and words in text


def test_wanted_files_are_whole_and_without_copies():
    assert set(wanted_files(FILES)) == SMALL | WEIGHTS
    assert set(wanted_files(FILES, weights=False)) == SMALL


def test_a_parts_weights_are_the_best_there_are():
    shards = [f"diffusion_pytorch_model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    assert weights_files(["config.json", *shards, "diffusion_pytorch_model.safetensors.index.json"]) == shards
    rounded = ["diffusion_pytorch_model.fp16-00001-of-00001.safetensors"]
    assert weights_files([*rounded, "diffusion_pytorch_model.bin"]) == rounded
    assert weights_files([*shards, *rounded]) == shards
    assert weights_files(["model.onnx", "flax_model.msgpack", "openvino_model.bin"]) == []


def test_paths(tmp_path, monkeypatch):
    file = tmp_path / "Model v1.safetensors"
    file.touch()
    assert resolve(f" {file} ") == file
    assert resolve(str(tmp_path)) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert resolve("~/Model v1.safetensors") == file


@pytest.mark.parametrize(
    "source, words",
    [
        ("", "No base model is chosen"),
        ("https://example.com/model.safetensors", "web address"),
        ("{folder}/Model v2.safetensors", r"no file or folder .*Model v2.*there is Model v1\.safetensors"),
        ("{folder}/else/deep/x.ckpt", "deep is missing too"),
        ("owner/model.safetensors", r"no file or folder owner/model\.safetensors"),
    ],
)
def test_paths_that_are_not_there(source, words, tmp_path):
    (tmp_path / "Model v1.safetensors").touch()
    with pytest.raises(ModelFileError, match=words):
        resolve(source.format(folder=tmp_path))
