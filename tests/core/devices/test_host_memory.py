"""The memory of this process: what was freed goes back to the system."""

import platform
import subprocess
import sys

import pytest

# In a process of its own, because a heap keeps what earlier tests made of it. Blocks of 4 MB lie below a smaller one
# that stays, as weights lie below whatever was made after them; the first block makes glibc keep blocks of this size.
SCRIPT = """
import torch
from core.devices import give_back_host_memory, used_host_memory
before = used_host_memory()
del_me = torch.ones(30 * 2**18); del del_me
blocks = [torch.ones(2**20) for _ in range(50)]
stays = torch.ones(2**18)
del blocks
freed = used_host_memory()
give_back_host_memory()
print(freed - before, used_host_memory() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc keeps freed memory that it can be asked for")
def test_freed_weights_leave_the_process() -> None:
    out = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout
    kept, left = (int(number) for number in out.split())
    assert kept > 150 * 2**20, "the blocks left by themselves, so that this shows nothing"
    assert left < 20 * 2**20
