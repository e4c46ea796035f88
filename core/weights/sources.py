"""Finds a model by what the user wrote: a file, a folder, or a name on the Hugging Face hub, which is downloaded."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection
from pathlib import Path, PurePosixPath

from core.errors import ModelFileError
from core.weights.diffusers_folders import INDEX, weights_files

_HUB_PAGE = re.compile(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+?)(?:/tree/main)?/?")
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
_WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")

# What of a repository on the hub is a model's: its parts' folders. Safety checkers and converted copies are not.
_PARTS = ("unet", "transformer", "vae", "text_encoder", "text_encoder_2", "text_encoder_3")
_SMALL = ("scheduler", "tokenizer", "tokenizer_2", "tokenizer_3")


def resolve(source: str, weights: bool = True) -> Path:
    """The file or diffusers folder that a source names; a name on the hub (`owner/name`) is downloaded first.

    weights: False leaves a hub model's weights there and fetches only its small files, which tell what it is.
    The hub's token comes from the environment (HF_TOKEN) or the hub's own login.
    Raises ModelFileError where there is no such thing, or the hub doesn't give it.
    """
    source = source.strip()
    if not source:
        raise ModelFileError("No base model is chosen.", do="Choose a file, a folder, or a name on the hub.")
    if name := hub_name(source):
        return _from_hub(name, weights)
    if "://" in source:
        raise ModelFileError(f"{source} is a web address.", do="Download the model, and choose the file.")
    path = Path(source).expanduser()
    if path.exists():
        return path
    raise _missing(path)


def hub_name(source: str) -> str | None:
    """The name on the hub (`owner/name`) that a source means; None where it means a path on this machine."""
    if page := _HUB_PAGE.fullmatch(source):
        return page[1]
    path = Path(source).expanduser()
    local = path.exists() or path.suffix.lower() in _WEIGHTS or path.parent.is_dir()
    return source if _HUB_NAME.fullmatch(source) and not local else None


def wanted_files(names: Collection[str], weights: bool = True) -> list[str]:
    """Of all files of a repository, those that make the model: each part's weights once, configs and tokenizers."""
    wanted = []
    for name in sorted(names):
        path = PurePosixPath(name)
        folder, deep = path.parent.name, len(path.parts)
        config = deep == 2 and folder in _PARTS and path.name == "config.json"
        if name == INDEX or config or (deep == 2 and folder in _SMALL):
            wanted.append(name)
    for part in _PARTS if weights else ():
        inside = [name.removeprefix(f"{part}/") for name in names if name.startswith(f"{part}/")]
        wanted += [f"{part}/{name}" for name in weights_files(inside)]
    return wanted


def _missing(path: Path) -> ModelFileError:
    """There is no such path; the remedy names what is called much like it."""
    folder = path.parent
    while not folder.is_dir():
        folder = folder.parent
    if folder != path.parent:
        remedy = f"The folder {path.parent} is missing too; {folder} is there."
    else:
        near = difflib.get_close_matches(path.name, [item.name for item in folder.iterdir()], n=3, cutoff=0.5)
        remedy = f"In {folder} there is {', '.join(near)}." if near else "Check the path."
    return ModelFileError(f"There is no file or folder {path}.", do=remedy)


def _from_hub(name: str, weights: bool) -> Path:
    # Here, because huggingface_hub takes a while to import, and a local file needs none of it.
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        HTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
    )

    try:
        siblings = HfApi().model_info(name).siblings or []
        files = [sibling.rfilename for sibling in siblings]
        if INDEX not in files:
            raise _no_folder(name, files)
        return Path(snapshot_download(name, allow_patterns=wanted_files(files, weights)))
    except (GatedRepoError, RepositoryNotFoundError) as error:
        raise _refused(name, gated=isinstance(error, GatedRepoError)) from error
    except HFValidationError as error:
        raise _missing(Path(name)) from error
    except HfHubHTTPError as error:
        raise ModelFileError(f"The hub doesn't give {name}.", _first_line(error), "Try again later.") from error
    except (OfflineModeIsEnabled, LocalEntryNotFoundError, HTTPError) as error:  # HTTPError: no connection, a time-out
        return _downloaded_before(name, error)
    except OSError as error:
        raise ModelFileError(
            f"{name} can't be downloaded.", _first_line(error), "Free some space on the disk."
        ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0].rstrip(".") + "."


def _downloaded_before(name: str, cause: Exception) -> Path:
    """The hub can't be reached: what an earlier download left on this machine."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # The index alone is asked for, because the hub's list of all files has some that are never downloaded.
        folder = Path(snapshot_download(name, allow_patterns=[INDEX], local_files_only=True))
    except LocalEntryNotFoundError:
        folder = Path()
    if (folder / INDEX).is_file():
        return folder
    raise ModelFileError(
        f"{name} is no file here, and the hub can't be reached.",
        _first_line(cause),
        "Check the path, or the network connection.",
    ) from cause


def _no_folder(name: str, files: Collection[str]) -> ModelFileError:
    single = [file for file in files if file.endswith((".safetensors", ".ckpt")) and "/" not in file]
    remedy = "Choose another model."
    if single:
        remedy = f"Download one of its files, and choose that: {', '.join(single[:5])}."
    return ModelFileError(f"{name} on the hub is not a whole model in diffusers' layout.", do=remedy)


def _refused(name: str, gated: bool) -> ModelFileError:
    if gated:
        return ModelFileError(
            f"The hub gives {name} only to those who accepted its terms.",
            do=f"Accept them on https://huggingface.co/{name}, and log in: run `hf auth login`, or set HF_TOKEN.",
        )
    return ModelFileError(
        f"There is no file or folder {name} here, and no model of that name on the hub.",
        "A private model looks the same to those who aren't logged in.",
        "Check the name, or log in: run `hf auth login`, or set HF_TOKEN.",
    )
