#!/usr/bin/env bash
# Runs the interop suites, all of them or those named:
#   run.sh [--long] [kazoo[:kind,kind,kind] zkcli clients disk durability bad_input ensemble]
# `--long` adds every mix of the ensemble's servers, and kazoo's suite against mixed ensembles.
# Ends with one line `N passed, N failed[, N skipped]` and fails if anything did. Settings are in README.md.
set -uo pipefail

here=$(cd "$(dirname "$0")" && pwd)
long=
[ "${1-}" != --long ] || { long=--long; shift; }
suites=("$@")
[ ${#suites[@]} -gt 0 ] || suites=(zkcli clients disk durability bad_input ensemble kazoo
    ${long:+kazoo:zabra,java39,java39 kazoo:zabra,java39,zabra})

"$here/install.sh" || { echo "0 passed, 1 failed"; exit 1; }

passed=0 failed=0 skipped=0
output=$(mktemp)
trap 'rm -f "$output"' EXIT
for suite in "${suites[@]}"; do
    echo "== $suite"
    start=$SECONDS
    name=${suite%%:*}
    arguments=()
    [ "$name" != ensemble ] || arguments=($long)
    (
        [ "$name" = "$suite" ] || export KAZOO_SERVERS=${suite#*:}
        python3 -u "$here/$name/run.py" "${arguments[@]}" 2>&1
    ) | tee "$output"
    last=$(tail -n 1 "$output")
    if [[ $last =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed(,\ ([0-9]+)\ skipped)?$ ]]; then
        passed=$((passed + BASH_REMATCH[1]))
        failed=$((failed + BASH_REMATCH[2]))
        skipped=$((skipped + ${BASH_REMATCH[4]:-0}))
    else
        echo "FAIL $suite: ended without a tally"
        failed=$((failed + 1))
    fi
    echo "== $suite took $((SECONDS - start)) s"
done

summary="$passed passed, $failed failed"
[ "$skipped" -eq 0 ] || summary+=", $skipped skipped"
echo "$summary"
[ "$failed" -eq 0 ]
