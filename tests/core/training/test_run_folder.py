"""The workspace: who may use it, what goes on in it, and backups that are whole or not there."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core.config.lora import LoraConfig
from core.errors import TrainingError, WorkspaceError
from core.training.events import BackedUp, Failed, Finished, read_events
from core.training.run_folder import RunFolder, State, differences, propose_workspace, read_backup


def config(**changes: object) -> LoraConfig:
    data = {"base": {"source": "model"}, "concepts": [{"folder": "pictures"}], **changes}
    return LoraConfig.model_validate(data)


def state(step: int) -> State:
    weight = torch.nn.Parameter(torch.full((3,), float(step)))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(3)
    optimizer.step()
    return State({"w": weight.detach()}, optimizer.state_dict(), {}, {"step": step})


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    found = RunFolder(tmp_path / "run")
    found.lock().release()
    found.claim(config())
    found.manifest_path.write_text("the pictures")
    return found


def test_a_second_run_is_refused_and_the_lock_goes_with_its_process(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    code = f"""
from pathlib import Path
from core.training.run_folder import RunFolder
lock = RunFolder(Path({str(tmp_path)!r})).lock()
print("locked", flush=True)
input()
"""
    other = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline() == "locked\n"
    assert folder.is_running()
    with pytest.raises(WorkspaceError, match="Another run is using"):
        folder.lock()
    other.kill()
    other.wait()
    assert not folder.is_running()
    folder.lock().release()


def test_the_same_config_goes_on_and_another_is_refused(folder: RunFolder) -> None:
    assert folder.claim(config())
    with pytest.raises(WorkspaceError, match=r"other settings: training\.epochs"):
        folder.claim(config(training={"epochs": 3}))


def test_a_run_that_never_began_gives_way_to_another(folder: RunFolder) -> None:
    folder.manifest_path.unlink()
    assert not folder.claim(config(training={"epochs": 3}))
    assert "epochs = 3" in folder.config_path.read_text()


def test_an_earlier_sessions_end_and_requests_are_forgotten_when_it_goes_on(folder: RunFolder) -> None:
    folder.write_backup(state(1), keep=1)
    for event in (BackedUp(step=1, path="x"), Failed(what="The disk was full.")):
        folder.report(event)
    folder.ask("stop")
    assert folder.claim(config())
    assert [type(event) for event in read_events(folder.events_path)[0]] == [BackedUp]
    assert not folder.is_asked_to_stop()


def test_a_start_that_was_killed_leaves_a_workspace(tmp_path: Path) -> None:
    (tmp_path / ".writing-run.toml").write_text("half")
    assert not RunFolder(tmp_path).claim(config())


def test_settings_that_change_no_numbers_may_differ(folder: RunFolder) -> None:
    changed = config(sampling={"every": "5 epochs"}, saving={"dtype": "fp32"}, memory={"gradient_checkpointing": False})
    assert folder.claim(changed)
    assert 'dtype = "fp32"' in folder.config_path.read_text()


def test_differences_name_settings_in_lists() -> None:
    other = config(concepts=[{"folder": "elsewhere", "name": "x"}])
    assert differences(config(), other) == ["concepts.0.folder"]


def test_a_finished_run_is_not_repeated_in_place(folder: RunFolder) -> None:
    folder.report(Finished(step=1, path="x"))
    with pytest.raises(WorkspaceError, match="is finished"):
        folder.claim(config())


def test_a_folder_with_other_things_is_no_workspace(tmp_path: Path) -> None:
    (tmp_path / "thesis.doc").write_text("precious")
    with pytest.raises(WorkspaceError, match="is no workspace"):
        RunFolder(tmp_path).lock()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["thesis.doc"]


def test_requests_are_taken_once(folder: RunFolder) -> None:
    RunFolder(folder.path).ask("sample")
    RunFolder(folder.path).ask("stop")
    assert folder.take_requests() == {"sample", "stop"}
    assert folder.take_requests() == set()


def test_a_backup_comes_back_exactly(folder: RunFolder) -> None:
    written = state(7)
    back = read_backup(folder.write_backup(written, keep=1))
    assert torch.equal(back.network["w"], written.network["w"])
    assert back.progress == {"step": 7}
    moments = written.optimizer["state"][0]["exp_avg"]
    assert torch.equal(back.optimizer["state"][0]["exp_avg"], moments)


def test_old_backups_go_once_the_new_one_is_whole(folder: RunFolder) -> None:
    for step in (1, 2, 3):
        folder.write_backup(state(step), keep=2)
    assert [path.name for path in sorted((folder.path / "backups").iterdir())] == ["step-00000002", "step-00000003"]


def test_a_half_written_backup_is_never_picked_up(folder: RunFolder) -> None:
    whole = folder.write_backup(state(1), keep=1)
    half = folder.path / "backups" / ".writing-step-00000002"
    half.mkdir()
    (half / "network.safetensors").write_bytes(b"half")
    assert folder.latest_backup() == whole
    (folder.path / "backups" / ".deleting-step-00000000").mkdir()
    folder.write_backup(state(2), keep=1)
    assert [path.name for path in (folder.path / "backups").iterdir()] == ["step-00000002"]


def test_a_damaged_backup_is_named(folder: RunFolder) -> None:
    path = folder.write_backup(state(1), keep=1)
    (path / "optimizer.pt").write_bytes(b"broken")
    with pytest.raises(WorkspaceError, match="is damaged"):
        read_backup(path)


def test_a_full_disk_leaves_the_old_backup_and_says_so(folder: RunFolder) -> None:
    whole = folder.write_backup(state(1), keep=1)
    big = State({"w": torch.zeros(300_000)}, {}, {}, {"step": 2})
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # the nearest thing to a full disk that needs no root
    try:
        with pytest.raises(TrainingError, match="goes on from step-00000001"):
            folder.write_backup(big, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert folder.latest_backup() == whole
    assert [path.name for path in (folder.path / "backups").iterdir()] == [whole.name]


def test_a_proposed_workspace_is_new(tmp_path: Path) -> None:
    first = propose_workspace("cat", tmp_path)
    first.mkdir()
    assert propose_workspace("cat", tmp_path) != first
