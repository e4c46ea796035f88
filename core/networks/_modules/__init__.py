"""What is trained of one layer: a module for each algorithm, on LyCORIS' own where LyCORIS is right."""

import os

# On CUDA LyCORIS would pick a kernel by itself, with other last bits. Read when its modules are first imported.
os.environ.setdefault("LYCORIS_KERNEL_BACKEND", "torch")
