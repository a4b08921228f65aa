#!/usr/bin/env bash
# make soak: what needs long counts to show. The daemon is killed KILLS times (500), with the random
# SEED where it is given; then every test runs COUNT times (10).
set -euo pipefail
cd "$(dirname "$0")/.."

export OCTOBOT_TEST_WHOLE=1
scripts/test.sh -v -run '^TestKillDaemon$' -timeout=0 -kills="${KILLS:-500}" ${SEED:+-seed="$SEED"} -- ./internal/systemtest
exec scripts/test.sh -timeout=0 -count="${COUNT:-10}"
