# What install.sh, update.sh, start-ui.sh and run-cmd.sh share: their settings, and the way to a prepared environment.

OCHRE_ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd -P)"
cd "$OCHRE_ROOT"

OT_PYTHON_CMD="${OT_PYTHON_CMD:-}" # empty: python, or python3 where there is none
OT_PYTHON_VENV="${OT_PYTHON_VENV:-.venv}"
OT_PLATFORM_REQUIREMENTS="${OT_PLATFORM_REQUIREMENTS:-detect}"
OT_SCRIPT_DEBUG="${OT_SCRIPT_DEBUG:-false}"

say() { printf '[Ochre] %s\n' "$*"; }
fail() {
    printf '[Ochre] %s\n' "$@" >&2
    exit 1
}
debug() {
    if [[ "$OT_SCRIPT_DEBUG" == true ]]; then printf '[Ochre] Debug: %s\n' "$*" >&2; fi
}

check_settings() {
    case "$OT_PLATFORM_REQUIREMENTS" in
        detect | requirements-cuda.txt | requirements-rocm.txt | requirements-default.txt) ;;
        *) fail "OT_PLATFORM_REQUIREMENTS is '$OT_PLATFORM_REQUIREMENTS'." \
            "It may be: detect, requirements-cuda.txt, requirements-rocm.txt, requirements-default.txt." ;;
    esac
    case "$OT_SCRIPT_DEBUG" in
        true | false) ;;
        *) fail "OT_SCRIPT_DEBUG is '$OT_SCRIPT_DEBUG'. It may be: true, false." ;;
    esac
}

# The folder of the environment; a relative OT_PYTHON_VENV counts from Ochre's folder.
environment_folder() {
    case "$OT_PYTHON_VENV" in
        /*) printf '%s' "$OT_PYTHON_VENV" ;;
        *) printf '%s' "$OCHRE_ROOT/$OT_PYTHON_VENV" ;;
    esac
}

is_new_enough() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

# Sets HOST_PYTHON, the Python that makes the environment.
find_host_python() {
    local candidates=(python python3) candidate version found=()
    if [[ -n "$OT_PYTHON_CMD" ]]; then candidates=("$OT_PYTHON_CMD"); fi
    for candidate in "${candidates[@]}"; do
        command -v "$candidate" >/dev/null 2>&1 || continue
        if is_new_enough "$candidate"; then
            HOST_PYTHON="$candidate"
            debug "makes the environment with $(command -v "$candidate")"
            return
        fi
        version="$("$candidate" --version 2>&1 | tail -n 1 || true)"
        found+=("$candidate ($version)")
    done
    if [[ ${#found[@]} -gt 0 ]]; then
        fail "Ochre needs Python 3.11 or newer, and found: ${found[*]}." \
            "Install a newer one (Debian, Ubuntu: apt install python3 python3-venv) and name it: OT_PYTHON_CMD=python3.12"
    fi
    fail "Found no Python: there is no ${candidates[*]} on the PATH." \
        "Install Python 3.11 or newer (Debian, Ubuntu: apt install python3 python3-venv)," \
        "or name the one that you have: OT_PYTHON_CMD=/path/to/python3"
}

# Makes the environment where there is none and installs what is missing; sets PYTHON, the environment's own.
# Further arguments go to installer.py.
prepare() {
    check_settings
    local folder
    folder="$(environment_folder)"
    PYTHON="$folder/bin/python"
    debug "environment: $folder"
    if ! { is_new_enough "$PYTHON" && "$PYTHON" -c 'import pip' >/dev/null 2>&1; }; then
        find_host_python
        "$HOST_PYTHON" installer.py --platform-requirements "$OT_PLATFORM_REQUIREMENTS" --make-environment "$folder"
    fi
    "$PYTHON" installer.py --platform-requirements "$OT_PLATFORM_REQUIREMENTS" "$@"
    debug "runs with $("$PYTHON" --version 2>&1)"
}
