#!/usr/bin/env bash
# Fetches the newest version of Ochre and upgrades the requirements that are outdated.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/lib.include.sh"

pull() {
    command -v git >/dev/null || fail "Found no git. Install it (Debian, Ubuntu: apt install git) and try again."
    if [[ "$(git rev-parse --show-toplevel 2>/dev/null)" != "$OCHRE_ROOT" ]]; then
        fail "This folder is no git clone, so there is nothing to update from: $OCHRE_ROOT" \
            "Clone Ochre again with git; your workspaces and profiles can be copied over."
    fi
    if ! git rev-parse --abbrev-ref '@{upstream}' >/dev/null 2>&1; then
        fail "This clone follows no remote branch, so there is nothing to update from." \
            "Name one (git branch --set-upstream-to=origin/main) and try again."
    fi
    if git pull --ff-only; then return; fi
    local changed
    changed="$(git status --porcelain --untracked-files=no)"
    if [[ -n "$changed" ]]; then
        fail "The update was not made; git says why above. You changed these files:" "$changed" \
            "Put your changes aside, update, and take them back: git stash && ./update.sh && git stash pop"
    fi
    fail "The update was not made; git says why above." \
        "If you have commits of your own, bring them together yourself: git pull --rebase"
}

# In a function, because bash reads a script while it runs it, and the pull may replace this one.
main() {
    check_settings
    pull
    say "Ochre is at $(git log -1 --format='%h of %cs')."
    exec ./install.sh --upgrade
}
main "$@"
