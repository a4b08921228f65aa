#!/usr/bin/env bash
# Runs every package's tests and writes go test's events. For scripts/test.sh, which
# provides what they need.
set -euo pipefail
cd "$(dirname "$0")/.."

# A package has an engine where its tests name one. The others run twice.
mapfile -t engine < <(grep -rlE 'OCTOBOT_TEST_(DOCKER|PODMAN)_HOST' --include='*_test.go' . |
	xargs -rn 1 dirname | sort -u)
mapfile -t pure < <(comm -23 <(go list -f '{{.Dir}}' ./... | sed "s|^$PWD|.|" | sort) <(printf '%s\n' "${engine[@]}"))

status=0
go test -json -race -shuffle=on -count=2 -timeout=10m "$@" "${pure[@]}" || status=$?
if ((${#engine[@]})); then
	go test -json -race -shuffle=on -count=1 -timeout=15m "$@" "${engine[@]}" || status=$?
fi
exit "$status"
