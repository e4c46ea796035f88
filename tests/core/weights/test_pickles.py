"""PyTorch checkpoints: the weights come out as they went in, and nothing that is written in the file runs."""

import collections
import io
import pickle
import struct
import zipfile

import pytest
import torch

from core.contracts import TensorInfo
from core.errors import ModelFileError
from core.weights.files import open_tensors
from core.weights.header import read_header
from core.weights.pickles import read_index

BASE = torch.arange(24.0)
TENSORS = {
    "half": torch.randn(3, 4).half(),
    "bfloat": torch.randn(5).bfloat16(),
    "double": torch.randn(2, 2, dtype=torch.float64),
    "number": torch.tensor(3),
    "mask": torch.tensor([True, False]),
    "bytes": torch.arange(5, dtype=torch.uint8),
    "small": torch.tensor([1, -2], dtype=torch.int32),
    "empty": torch.zeros(0, 3),
    "view": BASE[4:10].reshape(2, 3),
    "columns": BASE.reshape(4, 6).T,
    "every other": BASE[1::2],
    "parameter": torch.nn.Parameter(torch.randn(3)),
}


class ModelCheckpoint:
    """Like the training library's object that Stable Diffusion 1.x files carry; torch.load refuses to read it."""

    def __init__(self):
        self.best, self.path = 0.3, "last.ckpt"


@pytest.fixture(params=[True, False], ids=["zip", "older form"])
def zipped(request):
    return request.param


def assert_read_back(path, expected):
    with open_tensors(path) as reader:
        assert set(reader.keys()) == set(expected)
        for name, tensor in expected.items():
            read = reader.read(name)
            assert read.dtype == tensor.dtype
            assert torch.equal(read, tensor), name
            assert reader.info(name).shape == tuple(tensor.shape)


def test_weights_come_out_as_torch_wrote_them(zipped, tmp_path):
    path = tmp_path / "model.ckpt"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    assert_read_back(path, TENSORS)
    assert read_header(path).tensors["bfloat"] == TensorInfo((5,), "BF16")


def test_a_state_dict_of_a_module(zipped, tmp_path):
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))
    torch.save(module.state_dict(), tmp_path / "model.pt", _use_new_zipfile_serialization=zipped)
    assert_read_back(tmp_path / "model.pt", module.state_dict())


def test_a_checkpoint_with_foreign_objects(zipped, tmp_path):
    checkpoint = {
        "epoch": 3,
        "callbacks": {ModelCheckpoint: ModelCheckpoint(), "list": collections.deque([ModelCheckpoint()])},
        "optimizer_states": [{"state": {0: {"exp_avg": torch.ones(2)}}}],
        "state_dict": TENSORS,
    }
    path = tmp_path / "model.ckpt"
    torch.save(checkpoint, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(pickle.UnpicklingError):
        torch.load(path, weights_only=True)
    assert_read_back(path, TENSORS)


def test_every_truncation_gives_our_error(zipped, tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(6.0)}, buffer, _use_new_zipfile_serialization=zipped)
    whole, path = buffer.getvalue(), tmp_path / "model.ckpt"
    for there in range(4, len(whole), 7):
        path.write_bytes(whole[:there])
        with pytest.raises(ModelFileError):
            read_index(path)


def test_files_without_weights(zipped, tmp_path):
    for number, content in enumerate(({"epoch": 3}, [torch.ones(2)], {"state_dict": {}}, "text")):
        path = tmp_path / f"{number}.ckpt"
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(ModelFileError, match="There are no weights"):
            read_index(path)
    other = tmp_path / "other.ckpt"
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ModelFileError, match="not one that PyTorch wrote"):
        read_index(other)
    other.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ModelFileError, match="not a checkpoint that PyTorch wrote"):
        read_index(other)


def call(module, name, *arguments, protocol=2):
    """The pickle program that calls a function: what a malicious file is made of."""
    inside = pickle.dumps(arguments, protocol)[2:-1] if protocol < 4 else pickle.dumps(arguments, 2)[2:-1]
    if protocol < 4:
        return f"c{module}\n{name}\n".encode() + inside + b"R"
    text = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return text + b"\x93" + inside + b"R"


def attacks(mark):
    """Programs that each create the file `mark` where they are executed."""
    command, code = f"touch {mark}", f"open({str(mark)!r}, 'w').close()"
    system, evaluate = call("os", "system", command), call("builtins", "eval", code)
    fetched = b"cbuiltins\n__import__\nX\x02\x00\x00\x00os\x85R"
    attribute = b"cbuiltins\ngetattr\n" + fetched + b"X\x06\x00\x00\x00system\x86R"
    argument = b"X" + struct.pack("<I", len(command)) + command.encode()
    return {
        "os.system": system,
        "eval": evaluate,
        "exec": call("builtins", "exec", code),
        "python 2's name": call("__builtin__", "eval", code),
        "subprocess": call("subprocess", "getoutput", command),
        "stack global": call("os", "system", command, protocol=4),
        "nested": attribute + argument + b"\x85R",
        "inst": b"(" + argument + b"ios\nsystem\n",
        "obj": b"(cos\nsystem\n" + argument + b"o",
        "in a table": b"}X\x01\x00\x00\x00a" + system + b"s",
        "partial by build": b"cfunctools\npartial\ncos\nsystem\n\x85R(cos\nsystem\n" + argument + b"\x85}Ntb)R",
    }


def checkpoint(path, program, zipped):
    """A checkpoint whose program first does `program`, and is then an empty table."""
    body = b"\x80\x02" + program + b"0}."
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", body)
            archive.writestr("archive/version", "3")
    else:
        start = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True})]
        path.write_bytes(b"".join([*start, body, pickle.dumps([], 2)]))


@pytest.mark.parametrize("attack", attacks("nowhere"))
def test_nothing_in_a_checkpoint_runs(attack, zipped, tmp_path):
    mark = tmp_path / "ran"
    program = attacks(mark)[attack]
    path = tmp_path / "model.ckpt"
    checkpoint(path, program, zipped)
    with pytest.raises(ModelFileError, match="no weights"):
        read_header(path)
    assert not mark.exists()
    pickle.loads(b"\x80\x02" + program + b"0}.")
    assert mark.exists(), "the attack must be a real one"


def test_a_reduce_inside_a_real_checkpoint(zipped, tmp_path):
    """As torch.save writes it: an object whose reduction calls a function, beside real weights."""
    mark = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return eval, (f"open({str(mark)!r}, 'w').close()",), {"state": 1}, iter([1]), iter([(1, 2)])

    path = tmp_path / "model.ckpt"
    torch.save(
        {"a": Attack(), "state_dict": {"w": torch.ones(2), "b": Attack()}}, path, _use_new_zipfile_serialization=zipped
    )
    assert_read_back(path, {"w": torch.ones(2)})
    assert not mark.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"ccollections\nOrderedDict\n(N}X\x03\x00\x00\x00popK\x01stb",
        b"ctorch._utils\n_rebuild_tensor_v2\n(N}X\x07\x00\x00\x00__new__K\x01stb",
        b"ctorch._utils\n_rebuild_parameter\n}X\x07\x00\x00\x00__new__K\x01sb",
        b"cos\nsystem\n(N}X\x07\x00\x00\x00__new__K\x01stb",
    ],
)
def test_a_pickle_cannot_change_our_stand_ins(program, tmp_path):
    checkpoint(tmp_path / "bad.ckpt", program, zipped=True)
    with pytest.raises(ModelFileError):
        read_header(tmp_path / "bad.ckpt")
    torch.save(TENSORS, tmp_path / "good.ckpt")
    assert_read_back(tmp_path / "good.ckpt", TENSORS)


def test_a_tensor_outside_of_its_storage_is_refused(tmp_path):
    buffer = io.BytesIO()
    torch.save({"a": torch.arange(6.0)}, buffer)
    path = tmp_path / "model.ckpt"
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith("data.pkl"):
                assert data.count(b"K\x00K\x06\x85") == 1  # offset 0, shape (6,)
                data = data.replace(b"K\x00K\x06\x85", b"K\x01K\x06\x85")
            target.writestr(name, data)
    with pytest.raises(ModelFileError, match='the numbers of "a" are not in it'):
        read_index(path)
