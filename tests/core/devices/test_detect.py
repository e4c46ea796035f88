"""What is found on machines of several kinds, each made of a folder with stub programs and a fake /sys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from core.devices import Host, detect

GIB = 2**30
A100 = "0, GPU-aaaa, NVIDIA A100-SXM4-40GB, 40960, 550.54.15, 8.0"
T4 = "1, GPU-bbbb, Tesla T4, 15360, 550.54.15, 7.5"

MakeHost = Callable[..., Host]


@pytest.fixture
def make_host(tmp_path: Path) -> MakeHost:
    """A host with nothing but these programs (name -> shell script) and files (path -> text)."""

    def make(
        programs: dict[str, str] | None = None,
        files: dict[str, str] | None = None,
        environment: dict[str, str] | None = None,
        torch: str = "",
        system: tuple[str, str] = ("Linux", "x86_64"),
    ) -> Host:
        folder, root = tmp_path / "bin", tmp_path / "root"
        folder.mkdir(), root.mkdir()
        for name, script in (programs or {}).items():
            (folder / name).write_text(f"#!/bin/sh\n{script}\n")
            (folder / name).chmod(0o755)
        for path, text in (files or {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return Host(root, {"PATH": str(folder)} | (environment or {}), *system, torch)

    return make


def _smi(*rows: str) -> dict[str, str]:
    """An nvidia-smi that answers with these rows, and only to the question that it is asked."""
    lines = "\n".join(f"echo '{row}'" for row in rows)
    return {"nvidia-smi": f'case "$1" in *compute_cap*) ;; *) exit 2 ;; esac\n{lines}'}


def test_nvidia(make_host: MakeHost) -> None:
    machine = detect(make_host(_smi(A100), torch="2.13.0+cu130"))
    assert (machine.kind, machine.name, machine.memory_gb) == ("cuda", "NVIDIA A100-SXM4-40GB", 40.0)
    assert machine.precision == "bf16" and machine.torch_type == "cuda"
    assert "driver 550.54.15" in machine.why[0] and "8.0" in machine.why[1]


def test_older_nvidia_has_no_bf16(make_host: MakeHost) -> None:
    machine = detect(make_host(_smi(T4)))
    assert machine.precisions == ("fp16", "fp32")
    assert "7.5" in machine.why[1]


def test_a_driver_that_knows_no_compute_capability(make_host: MakeHost) -> None:
    script = """case "$1" in *compute_cap*) echo 'Field "compute_cap" is not a valid field to query.'; exit 2 ;; esac
echo '0, GPU-cccc, Tesla K80, 11441, 440.33'"""
    machine = detect(make_host({"nvidia-smi": script}))
    assert (machine.kind, machine.name, machine.precision) == ("cuda", "Tesla K80", "fp16")


@pytest.mark.parametrize(("visible", "name"), [("1", "Tesla T4"), ("GPU-bb,0", "Tesla T4"), ("0,1", "NVIDIA A100")])
def test_cuda_visible_devices_chooses(make_host: MakeHost, visible: str, name: str) -> None:
    machine = detect(make_host(_smi(A100, T4), environment={"CUDA_VISIBLE_DEVICES": visible}))
    assert machine.name.startswith(name)


@pytest.mark.parametrize("visible", ["", "-1", "7"])
def test_cuda_visible_devices_may_allow_none(make_host: MakeHost, visible: str) -> None:
    assert detect(make_host(_smi(A100), environment={"CUDA_VISIBLE_DEVICES": visible})).kind == "cpu"


@pytest.mark.parametrize(
    "script",
    [
        "echo 'NVIDIA-SMI has failed because it could not communicate with the NVIDIA driver.'; exit 9",
        "echo 'No devices were found'; exit 0",
        "printf '\\377\\376'",
        "exit 0",
    ],
)
def test_an_nvidia_smi_that_fails_is_no_gpu(make_host: MakeHost, script: str) -> None:
    assert detect(make_host({"nvidia-smi": script})).kind == "cpu"


def test_a_torch_for_the_processor_can_not_use_the_gpu(make_host: MakeHost) -> None:
    machine = detect(make_host(_smi(A100), torch="2.13.0+cpu"))
    assert machine.kind == "cpu"
    assert "A100" in machine.why[0] and "2.13.0+cpu" in machine.why[0] and "update.sh" in machine.why[0]


def test_a_torch_that_does_not_say_what_it_is_built_for_is_trusted(make_host: MakeHost) -> None:
    assert detect(make_host(_smi(A100), torch="2.6.0a0+ecf3bae40a.nv25.01")).kind == "cuda"


AMD = {
    "sys/class/kfd/kfd/topology/nodes/0/properties": "cpu_cores_count 16\nsimd_count 0\n",
    "sys/class/kfd/kfd/topology/nodes/1/properties": "simd_count 384\ngfx_target_version 110001\n",
    "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {24 * GIB}\n",
    "sys/class/kfd/kfd/topology/nodes/1/mem_banks/1/properties": f"heap_type 4\nsize_in_bytes {1 * GIB}\n",
    "sys/class/kfd/kfd/topology/nodes/10/properties": "simd_count 440\ngfx_target_version 90010\n",
    "sys/class/kfd/kfd/topology/nodes/10/mem_banks/0/properties": f"heap_type 1\nsize_in_bytes {64 * GIB}\n",
}


def test_amd(make_host: MakeHost) -> None:
    product = """echo '{"card0": {"Card Series": "Radeon RX 7800 XT", "GFX Version": "gfx1101"}}'"""
    machine = detect(make_host({"rocm-smi": product}, AMD, torch="2.13.0+rocm7.2"))
    assert (machine.kind, machine.name, machine.memory_gb) == ("rocm", "Radeon RX 7800 XT", 24.0)
    assert machine.precision == "bf16" and machine.torch_type == "cuda"
    assert "gfx1101" in machine.why[0]


@pytest.mark.parametrize("script", ["exit 1", "echo nothing of JSON", "echo '[]'"])
def test_amd_without_its_name(make_host: MakeHost, script: str) -> None:
    machine = detect(make_host({"rocm-smi": script}, AMD, {"HIP_VISIBLE_DEVICES": "1"}))
    assert (machine.name, machine.memory_gb) == ("AMD GPU (gfx90a)", 64.0)


def test_a_hidden_amd_gpu_is_none(make_host: MakeHost) -> None:
    assert detect(make_host(None, AMD, {"HIP_VISIBLE_DEVICES": "-1"})).kind == "cpu"


def test_intel_only_with_its_torch(make_host: MakeHost) -> None:
    files = {"sys/class/drm/card0/device/vendor": "0x8086\n", "sys/class/drm/card0/lmem_total_bytes": str(16 * GIB)}
    host = make_host(None, files, torch="2.13.0+xpu")
    assert (detect(host).kind, detect(host).memory_gb) == ("xpu", 16.0)
    assert detect(Host(host.root, host.environment, "Linux", "x86_64", "2.13.0+cpu")).kind == "cpu"


def test_apple(make_host: MakeHost) -> None:
    machine = detect(make_host({"sysctl": "echo 'Apple M3 Max'"}, torch="2.13.0", system=("Darwin", "arm64")))
    assert (machine.kind, machine.name, machine.precision) == ("mps", "Apple M3 Max", "fp16")
    assert machine.memory_gb == pytest.approx(psutil.virtual_memory().total / GIB)


def test_a_processor_says_why_it_is_one(make_host: MakeHost) -> None:
    machine = detect(make_host(None, {"proc/cpuinfo": "processor\t: 0\nmodel name\t: Fast 9000\n"}))
    assert (machine.kind, machine.name, machine.precision) == ("cpu", "Fast 9000", "bf16")
    assert "No GPU" in machine.why[0]
    assert all(reason.endswith(".") for reason in machine.why)


@pytest.mark.parametrize(
    "files",
    [
        {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"},
        {"proc/self/cgroup": "0::/docker/abc\n", "sys/fs/cgroup/memory.max": f"{GIB}\n"},
        {
            "proc/self/cgroup": "0::/a/b\n",
            "sys/fs/cgroup/a/memory.max": f"{GIB}\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
        },
        {
            "proc/self/cgroup": "5:cpu:/x\n4:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{GIB}\n",
        },
    ],
    ids=["v2", "v2 seen from inside", "v2 parent", "v1"],
)
def test_a_container_limits_the_memory(make_host: MakeHost, files: dict[str, str]) -> None:
    machine = detect(make_host(None, files))
    assert machine.host_memory_gb == 1.0
    assert "container" in machine.why[-1]


def test_a_limit_above_the_machine_is_none(make_host: MakeHost) -> None:
    files = {"proc/self/cgroup": "4:memory:/\n", "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}
    assert detect(make_host(None, files)).host_memory_gb == pytest.approx(psutil.virtual_memory().total / GIB)


def test_this_machine_needs_no_torch() -> None:
    code = "import sys; from core.devices import detect; detect(); assert not {'torch', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
