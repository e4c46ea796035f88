"""Puts a run together: base, pictures, caches, network, optimizer; part by part, so that little is in memory at once."""

from __future__ import annotations

import dataclasses
import os
import time
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from core.config.lora import LoraConfig
from core.contracts import Batch, Conditions, Encoded, Family, Model, Network, Part, PreviewRequest
from core.dataset.batches import Plan
from core.dataset.cache import Cache
from core.dataset.draws import key_for
from core.dataset.loader import Loader
from core.dataset.manifest import Entry
from core.devices import detect
from core.devices.torch_device import torch_device
from core.errors import ModelFileError, TrainingError
from core.objectives import Objective
from core.optimizers._state import restore_state
from core.training.base_model import BaseModel, find_base
from core.training.encoding import Latents, Texts
from core.training.events import Event, Message, Phase
from core.training.manifest import frozen_entries
from core.training.planning import batch_plan, destination_folder, destination_stem, epoch_ends, output_files, total_steps
from core.training.previews import SamplePair, sample_pairs
from core.training.progress import Progress
from core.training.run_folder import RunFolder, State, read_backup_network

Report = Callable[[Event], None]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass
class Run:
    """A run, ready to train: what the loop works with."""

    config: LoraConfig
    folder: RunFolder
    report: Report
    accelerator: Accelerator
    base: BaseModel
    model: Model
    network: Network
    objective: Objective
    entries: list[Entry]
    plan: Plan
    batches: Loader
    texts: Texts
    optimizer: torch.optim.Optimizer
    samples: list[SamplePair]
    total_steps: int
    session: str = field(default_factory=lambda: str(uuid.uuid4().int % 2**32))
    started_at: float = field(default_factory=time.time)
