#!/usr/bin/env bash
# Runs scripts/NAME.py in the prepared environment: ./run-cmd.sh NAME ARGUMENTS
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.include.sh"

commands() {
    local file name
    for file in scripts/*.py; do
        name="$(basename "$file" .py)"
        if [[ "$name" =~ ^[A-Za-z0-9][A-Za-z0-9_]*$ ]]; then printf '%s ' "$name"; fi
    done
}

name="${1:-}"
if [[ -z "$name" ]]; then
    fail "Say which command: ./run-cmd.sh NAME ARGUMENTS" "There are: $(commands)"
fi
if [[ ! "$name" =~ ^[A-Za-z0-9][A-Za-z0-9_]*$ || ! -f "scripts/$name.py" ]]; then
    fail "There is no command '$name'." "There are: $(commands)"
fi
shift

prepare
exec "$PYTHON" -m "scripts.$name" "$@"
