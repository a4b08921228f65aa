#!/usr/bin/env bash
# gotest.sh [GO-TEST-ARGUMENT...] -- PACKAGE...
#
# go test -race through gotestsum, for the module in the current directory. At most five tests
# that failed run again, alone, up to twice. One that passes then is no failure; it is named at the
# end, in a line "flaky: PACKAGE TEST". What has no second chance: a data race, a panic, a broken
# build, a package that fails outside its tests, a test that does not end, and a skip that
# scripts/allowed-skips.txt does not name. The last line is gotestsum's own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=$here/../.cache

arguments=()
while (($#)) && [[ $1 != -- ]]; do
	arguments+=("$1")
	shift
done
(($# > 1)) || { echo "usage: gotest.sh [GO-TEST-ARGUMENT...] -- PACKAGE..." >&2; exit 2; }
shift

# but_last copies lines to descriptor 3, but for the summary's last one, which is to stand below
# what testreport says.
but_last() {
	local line held=
	while IFS= read -r line; do
		[[ -z $held ]] || printf '%s\n' "$held" >&3
		held=
		if [[ $line == "DONE "* ]]; then held=$line; else printf '%s\n' "$line" >&3; fi
	done
	printf '%s\n' "$held"
}

mkdir -p "$cache"
go build -C "$here/../tools" -o "$cache/" gotest.tools/gotestsum
go build -C "$here" -o "$cache/testreport" ./testreport

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
status=0
"$cache/gotestsum" --format pkgname --format-hide-empty-pkg --hide-summary skipped --no-color \
	--rerun-fails=2 --rerun-fails-max-failures=5 --rerun-fails-abort-on-data-race --jsonfile "$work/events" \
	--packages "$*" -- -race "${arguments[@]}" | but_last 3>&1 >"$work/last" || status=$?
"$cache/testreport" -skips "$here/allowed-skips.txt" "$work/events" || status=1
cat "$work/last"
exit "$status"
