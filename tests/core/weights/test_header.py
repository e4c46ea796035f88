"""Headers: what a good file says, and the words for every kind of broken one."""

import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save, save_file

from core.contracts import TensorInfo
from core.errors import ModelFileError
from core.weights.header import LONGEST_HEADER, kind_of, read_header, size_text

TENSORS = {
    "a.weight": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "b": torch.tensor(7),
    "c": torch.zeros(0, 4, dtype=torch.float16),
}


def handmade(entries, data=b""):
    """A safetensors file with any list of contents."""
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + data


def entry(begin, end, shape=(1,), dtype="U8"):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [begin, end]}


def test_names_shapes_dtypes_and_metadata(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file(TENSORS, path, {"ss_output_name": "cat"})
    header = read_header(str(path))
    assert header.path == path
    assert header.metadata == {"ss_output_name": "cat"}
    assert header.tensors == {
        "a.weight": TensorInfo((2, 3), "BF16"),
        "b": TensorInfo((), "I64"),
        "c": TensorInfo((0, 4), "F16"),
    }


def test_a_safetensors_file_called_ckpt_is_read(tmp_path):
    path = tmp_path / "model.ckpt"
    path.write_bytes(save(TENSORS))
    assert kind_of(path) == "safetensors"
    assert set(read_header(path).tensors) == set(TENSORS)


def test_a_header_of_640_bytes_is_not_taken_for_a_pickle(tmp_path):
    text = json.dumps({"__metadata__": {"k": ""}}).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(handmade(text + b" " * (640 - len(text))))
    assert path.read_bytes()[:2] == b"\x80\x02"
    assert read_header(path).metadata == {"k": ""}


BROKEN = {
    "empty": (b"", "it is empty.*Download it again"),
    "short": (b"abc", "it has only 3 bytes"),
    "page": (b"\n<!DOCTYPE html><html><body>Sign in</body>", "it is a web page.*Download it again"),
    "plain page": (b"<html><head>404", "it is a web page"),
    "message": (b'{"error": "Invalid username or password."}', "it is a JSON text"),
    "pointer": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n",
        "pointer to a large file.*git lfs pull",
    ),
    "gguf": (b"GGUF\x03\x00\x00\x00", "it is a GGUF file"),
    "noise": (b"\xff" * 64, "its beginning is not that of a safetensors file"),
    "long": ((LONGEST_HEADER + 1).to_bytes(8, "little") + b"{}", "its beginning is not that"),
    "json": (handmade(b"{not json"), "its list of contents is damaged"),
    "latin": (handmade(b'{"\xe9": 1}'), "its list of contents is damaged"),
    "entry": (handmade({"a": 3}), 'description of "a" in its list of contents is damaged'),
    "offsets": (handmade({"a": entry(4, 0)}), 'description of "a"'),
    "negative": (handmade({"a": entry(0, 1, shape=(-1,))}), 'description of "a"'),
    "shape": (handmade({"a": entry(0, 4, (2,), "F32")}, b"1234"), '"a" has 4 bytes, which doesn\'t fit F32'),
    "overlap": (handmade({"a": entry(0, 4, (4,)), "b": entry(2, 6, (4,))}, b"123456"), '"b" overlaps'),
    "gap": (handmade({"a": entry(0, 1), "b": entry(2, 3)}, b"123"), '"b" leaves a gap'),
    "extra": (handmade({"a": entry(0, 1)}, b"123"), "it has 2 bytes more than it says"),
    "metadata": (handmade({"__metadata__": {"a": 1}}), "its metadata are damaged"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_its_fault(kind, tmp_path):
    data, message = BROKEN[kind]
    path = tmp_path / "base.safetensors"
    path.write_bytes(data)
    with pytest.raises(ModelFileError, match=rf"base\.safetensors.*{message}"):
        read_header(path)


def test_a_half_downloaded_file_says_how_much_is_missing(tmp_path):
    whole = save(TENSORS)
    path = tmp_path / "base.safetensors"
    for there in range(9, len(whole)):
        path.write_bytes(whole[:there])
        with pytest.raises(ModelFileError, match=r"not whole") as caught:
            read_header(path)
    assert f"{len(whole)} bytes, and {len(whole) - 1} bytes are there (1 bytes are missing)" in str(caught.value)


def test_a_damaged_header_gives_our_error_and_no_other(tmp_path):
    """Every single byte of the header is spoiled in turn; what can still be read is, and the rest is explained."""
    whole = bytearray(save(TENSORS))
    path = tmp_path / "base.safetensors"
    refused = 0
    for position in range(8 + int.from_bytes(whole[:8], "little")):
        spoiled = bytearray(whole)
        spoiled[position] ^= 0x55
        path.write_bytes(spoiled)
        try:
            read_header(path)
        except ModelFileError:
            refused += 1
    assert refused > 50


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ModelFileError, match="There is no file"):
        read_header(tmp_path / "nothing.safetensors")
    with pytest.raises(ModelFileError, match="is a folder"):
        read_header(tmp_path)
    (tmp_path / "notes.ckpt").write_text("my notes")
    with pytest.raises(ModelFileError, match="nothing in it looks like weights"):
        read_header(tmp_path / "notes.ckpt")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_checkpoint_called_safetensors_is_refused_with_the_way_out(zipped, tmp_path):
    path = tmp_path / "base.safetensors"
    torch.save(TENSORS, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ModelFileError, match=r"is a PyTorch checkpoint.*rename it to base\.ckpt"):
        read_header(path)


def test_a_header_is_read_without_torch(tmp_path):
    path, checkpoint = tmp_path / "model.safetensors", tmp_path / "model.ckpt"
    save_file(TENSORS, path)
    torch.save(TENSORS, checkpoint)
    script = (
        "import sys; from core.weights.header import read_header;"
        f"print(len(read_header({str(path)!r}).tensors), len(read_header({str(checkpoint)!r}).tensors),"
        "'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["3", "3", "False"]


def test_sizes_as_people_say_them():
    assert [size_text(n) for n in (812, 3_200_000, 6_938_000_000, 2_000)] == ["812 bytes", "3.2 MB", "6.94 GB", "2 kB"]
