#!/usr/bin/env bash
# make fuzz: runs every fuzz target for a short while, FUZZTIME each (10s).
set -euo pipefail
cd "$(dirname "$0")/.."

grep -rnoE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | sort | while IFS=: read -r file _ func; do
	target=${func#func }
	echo "==> $(dirname "$file") $target"
	go test -run='^$' -fuzz="^$target\$" -fuzztime="${FUZZTIME:-10s}" "$(dirname "$file")"
done
