"""Makes concepts and settings of a kohya dataset config, and says what is different or has no counterpart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.dataset.caption_files import LARGEST_CAPTION
from core.dataset.caption_metadata import read_metadata
from core.dataset.found import listed
from core.dataset.kohya.buckets import Sizes
from core.dataset.kohya.keys import DATASET_KEYS, KEYS, SUBSET_KEYS, remarks
from core.dataset.kohya.values import Account, Dataset, Note, Table, Value
from core.dataset.settings import Concept
from core.errors import PictureError, SettingsError
from core.settings.checks import validate


@dataclass(frozen=True)
class Imported:
    """What was read.

    source: the file or folder. concepts: one for each subset. settings: setting path (`buckets.resolution`) -> value,
    for the rest of the config. notes: what has no counterpart, or means something else here. used: the places of the
    values that count. Every key is in `used`, or in a note with `taken` off; never in both.
    """

    source: Path
    concepts: list[Concept]
    settings: dict[str, Any]
    notes: list[Note]
    used: list[str]

    @property
    def differing(self) -> list[Note]:
        """Notes on values that count, and mean something slightly different."""
        return [note for note in self.notes if note.taken]

    @property
    def left_out(self) -> list[Note]:
        """Notes on values that don't count."""
        return [note for note in self.notes if not note.taken]


class Import:
    """One import. source: the config's file; its folder is where relative paths may count from."""

    def __init__(self, account: Account, source: Path) -> None:
        self._account, self._source = account, source
        self._seen: set[tuple[int, str]] = set()
        self._without_ending: list[str] = []

    def read(self, sizes_too: bool = True) -> Imported:
        """All of it. Without sizes: the concepts alone. SettingsError with all problems."""
        account = self._account
        datasets = [account.values(DATASET_KEYS, dataset.table, account.general) for dataset in account.datasets]
        self._without_counterpart(datasets)
        sizes = Sizes(account, datasets) if sizes_too else None
        concepts = [
            concept
            for index, dataset in enumerate(account.datasets)
            for subset in dataset.subsets
            for concept in self._concepts(index, dataset, subset, sizes)
        ]
        if sizes:
            self._say_what_is_not_given(datasets)
        account.close()
        if account.problems:
            raise SettingsError(account.problems, str(self._source))
        notes = list(account.notes.values())
        return Imported(self._source, _named(concepts), sizes.settings if sizes else {}, notes, list(account.used))

    def _without_counterpart(self, datasets: Sequence[Mapping[str, Value]]) -> None:
        for values in datasets:
            for key in DATASET_KEYS:
                if not key.ours:
                    self._pass_over(values[key.name], key.default, key.note)

    def _pass_over(self, value: Value, default: Any, note: str) -> None:
        """Account for a key without counterpart; its default is what happens here anyway."""
        if value.value == default and isinstance(value.value, bool) == isinstance(default, bool):
            self._account.use(value.place)
        else:
            self._account.note(value, note, taken=False)

    def _concepts(self, index: int, dataset: Dataset, subset: Table, sizes: Sizes | None) -> Iterator[Concept]:
        """The concept of a subset; several where a metadata file names pictures in several folders."""
        has_metadata = subset.values.get("metadata_file") is not None
        missing = "captions beside pictures" if has_metadata else "metadata file"
        keys = [key for key in SUBSET_KEYS if key.only != missing]
        values = self._account.values(keys, subset, dataset.table, self._account.general)
        settings, places = self._settings(values)
        for key, path in (
            ("metadata_file", "text.metadata_path"),
            ("image_dir", "folder"),
            ("conditioning_data_dir", ""),
        ):
            if (value := values.get(key)) and value.place:
                found = self._on_disk(value, folder=key != "metadata_file")
                settings |= {path: found} if path else {}
        if sizes:
            settings["resolution"], places["resolution"] = sizes.own_resolution(index), sizes.place(index)
        settings["enabled"] = settings.get("enabled", True) and self._is_new(index, values)
        folders = [settings["folder"]] if settings.get("folder") else []
        if not folders:
            folders = self._folders(subset, values, settings.get("text.metadata_path", ""))
        if "caption_extension" in values and not values["caption_extension"].place:
            self._without_ending += folders
        for folder in folders or [""]:  # without one there is a problem; there may be more
            settings |= {"folder": folder, "name": settings.get("trigger_word") or Path(folder).name}
            concept, problems = validate(Concept, _nested(settings))
            for problem in problems:
                self._account.problem(places.get(problem.path) or f"{subset.place}: {problem.path}", problem.message)
            if concept:
                if sizes:
                    sizes.check(concept, index)
                yield concept

    def _settings(self, values: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, str]]:
        """A concept's setting path -> value, and -> where this stands in the file."""
        settings: dict[str, Any] = {}
        places: dict[str, str] = {}
        said = remarks({name: value.value for name, value in values.items()})
        not_taken = {remark.key for remark in said if not remark.taken}
        for key in SUBSET_KEYS:
            value = values.get(key.name)
            if value is None or (value.value is None and not value.place):
                continue
            if not key.ours:
                self._pass_over(value, key.default, key.note)
                continue
            if key.name not in not_taken:
                self._account.use(value.place)
            own = key.settings(value.value)
            settings |= own
            places |= dict.fromkeys(own, value.place)
            if key.note and value.value != key.default and key.name not in not_taken:
                self._account.note(value, key.note)
        for remark in said:
            self._account.note(values[remark.key], remark.text, remark.taken)
        self._check_attributes(values["custom_attributes"])
        return settings, places

    def _check_attributes(self, value: Value) -> None:
        """Of custom_attributes one is known."""
        for name, inner in (value.value or {}).items():
            if name != "diff_output_preservation":
                text = "Ochre knows diff_output_preservation alone."
                self._account.say(f"{value.place}.{name}", inner, text, taken=False)
            elif not isinstance(inner, bool):
                self._account.problem(f"{value.place}.{name}", "must be true or false")

    # -- folders and files

    def _on_disk(self, value: Value, folder: bool) -> str:
        """The absolute path of a folder or file that the config names; a problem where it isn't there."""
        if not value.value:
            self._account.problem(value.place, "must not be empty")
            return ""
        if not folder and value.value.lower().endswith(".jsonl"):
            self._account.problem(value.place, "is read as JSON, not as JSON in lines; write it as one JSON table")
        written = Path(value.value)
        with suppress(RuntimeError):  # of a ~ whose user isn't known
            written = written.expanduser()
        for path in dict.fromkeys([written.absolute(), self._source.parent.absolute() / written]):
            if _is_there(path, folder):
                if not written.is_absolute():
                    self._account.note(value, f"It is taken for {path}.")
                return str(path)
        what = "folder" if folder else "file"
        self._account.problem(value.place, f"there is no {what} {value.value!r}; write where it lies on this machine")
        return value.value

    def _is_new(self, index: int, values: Mapping[str, Value]) -> bool:
        """Whether kohya's trainer would take a subset: it leaves out a second one of the same folder in a dataset."""
        value = values.get("metadata_file", values["image_dir"])
        if values["num_repeats"].value < 1 or not value.value:
            return True
        identity = (index, value.value)
        if identity in self._seen:
            text = "kohya's trainer leaves it out, as it stands in this dataset before; the concept isn't enabled."
            self._account.note(value, text)
            return False
        self._seen.add(identity)
        return True

    def _folders(self, subset: Table, values: Mapping[str, Value], metadata_path: str) -> list[str]:
        """The folders of the pictures that a metadata file names, where the config names none."""
        missing = "is missing; it is the folder with the pictures"
        if subset.values.get("image_dir") is not None or self._is_wrong(values.get("metadata_file")):
            return []
        if not metadata_path:
            self._account.problem(f"{subset.place}.image_dir", missing)
            return []
        value = values["metadata_file"]
        try:
            names = read_metadata(Path(metadata_path), values["caption_separator"].value, LARGEST_CAPTION)
        except PictureError as error:
            self._account.problem(value.place, str(error))
            return []
        folders = sorted({Path(name).parent for name in names})
        wrong = [path for path in folders if not (path.is_absolute() and _is_there(path, folder=True))]
        if wrong or not folders:
            named = f"; the metadata file names {wrong[0]}, and there is no such folder" if wrong else ""
            self._account.problem(f"{subset.place}.image_dir", missing + named)
            return []
        found = [str(folder) for folder in folders]
        self._account.note(value, f"As image_dir isn't given, the folders are those that it names: {listed(found)}.")
        return found

    def _is_wrong(self, value: Value | None) -> bool:
        """Whether there is a problem with a value already."""
        return value is not None and any(problem.path == value.place for problem in self._account.problems)

    # -- what the file doesn't say

    def _say_what_is_not_given(self, datasets: Sequence[Mapping[str, Value]]) -> None:
        for name in ("resolution", "batch_size", "enable_bucket"):
            lacking = [index for index, values in enumerate(datasets) if not values[name].place]
            if name == "resolution" and len(lacking) < len(datasets):
                for index in lacking:
                    self._account.say(f"datasets.{index}.{name}", None, "It isn't given; the run's is taken.", False)
            elif len(lacking) == len(datasets):
                self._account.say(f"general.{name}", None, _not_given(KEYS[name].default), taken=False)
        if self._without_ending:
            default = KEYS["caption_extension"].default
            text = _not_given(default)
            if folder := next(filter(_has_only_text_files, self._without_ending), ""):
                text += f' The captions in {folder} end in .txt: write caption_extension = ".txt" into the file.'
            self._account.say("general.caption_extension", None, text, taken=False)


def _not_given(default: Any) -> str:
    if default is None:
        return "It isn't given, and stood on the command line of kohya's trainer: set it in the run."
    shown = str(default).lower() if isinstance(default, bool) else default
    return f"It isn't given, and kohya's default counts: {shown}. What stood on its command line isn't known here."


def _has_only_text_files(folder: str) -> bool:
    endings = caption_endings(folder)
    return bool(endings[".txt"]) and not endings[".caption"]


def caption_endings(folder: str | Path) -> Counter[str]:
    """How many files of a folder end in each way; none where it can't be read, which the survey tells."""
    try:
        return Counter(path.suffix.lower() for path in Path(folder).iterdir())
    except OSError:
        return Counter()


def _is_there(path: Path, folder: bool) -> bool:
    try:
        return path.is_dir() if folder else path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _nested(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Settings by path -> the tables that they stand in."""
    nested: dict[str, Any] = {}
    for path, value in flat.items():
        *parents, last = path.split(".")
        table = nested
        for name in parents:
            table = table.setdefault(name, {})
        table[last] = value
    return nested


def _named(concepts: Iterable[Concept]) -> list[Concept]:
    """The concepts with a number after a name that was there before."""
    taken: Counter[str] = Counter()
    named = []
    for concept in concepts:
        taken[concept.name] += 1
        count = taken[concept.name]
        named.append(concept if count == 1 else concept.model_copy(update={"name": f"{concept.name} ({count})"}))
    return named
