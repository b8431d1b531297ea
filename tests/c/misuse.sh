#!/bin/sh
# Usage: misuse.sh PROGRAM [VALGRIND WITH ITS OPTIONS...]
# Every way of misusing the library that PROGRAM knows must be caught by the checker it runs under.
set -eu

program=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT
ways=$("$program")
caught=0 unseen=0
for way in $ways; do
    status=0
    "$@" "$program" "$way" >"$log" 2>&1 || status=$?
    report=$(grep -m 1 -oE 'ERROR: (Address|Leak)Sanitizer: .*|Invalid (read|write|free).*|definitely lost in .*' "$log" || true)
    if [ "$status" -ne 0 ] && [ -n "$report" ]; then
        echo "caught $way: $report" | cut -c1-110
        caught=$((caught + 1))
    else
        echo "UNSEEN $way (exit status $status)"
        cat "$log"
        unseen=$((unseen + 1))
    fi
done
echo "$caught caught, $unseen unseen"
test "$unseen" -eq 0 && test "$caught" -gt 0
