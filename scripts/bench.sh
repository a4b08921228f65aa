#!/usr/bin/env bash
# make bench: the figures of bench/, on a private dockerd. Arguments go to it.
set -euo pipefail
cd "$(dirname "$0")/.."

mkdir -p .cache
go build -o .cache/bench ./bench
exec scripts/with-engines.sh docker -- .cache/bench "$@"
