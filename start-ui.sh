#!/usr/bin/env bash
# Opens JupyterLab on the notebooks; arguments go to JupyterLab: ./start-ui.sh --ip 0.0.0.0 --port 8888
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.include.sh"

prepare
options=("--ServerApp.root_dir=$OCHRE_ROOT")
if [[ "$(id -u)" == 0 ]]; then options+=(--allow-root); fi
if [[ "$(uname)" == Linux && -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]]; then
    options+=(--no-browser)
    say "No browser on this machine: open the address that follows, from 'http' to the end of the line, in your own."
fi
export JUPYTER_PREFER_ENV_PATH=1 # this environment's kernel, not one of the user's
exec "$PYTHON" -m jupyterlab "${options[@]}" "$@"
