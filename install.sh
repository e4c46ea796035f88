#!/usr/bin/env bash
# Finds a valid Python, makes the environment where there is none and installs what is missing in it.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.include.sh"

prepare "$@"
say "Ready: $PYTHON"
say "Next: ./start-ui.sh opens the notebooks; ./run-cmd.sh demo trains a first LoRA."
