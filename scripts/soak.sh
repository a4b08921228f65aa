#!/usr/bin/env bash
# make soak: what needs long counts to show. The daemon is killed KILLS times (500), with the random
# SEED where it is given; EXECS commands (100,000) run through one agent, and a
# tenth as many terminals are made; a terminal's viewer is cut 1,000 times; then every test runs COUNT times (10).
set -euo pipefail
cd "$(dirname "$0")/.."

export OCTOBOT_TEST_WHOLE=1
scripts/test.sh -v -run '^TestKillDaemon$' -timeout=0 -kills="${KILLS:-500}" ${SEED:+-seed="$SEED"} -- ./internal/systemtest
OCTOBOT_TEST_SOAK="${EXECS:-100000}" scripts/test.sh -v -run '^(TestAgentSoak|TestNothingRunsTwice|TestFirstBytes)$' -timeout=0 -- ./internal/container/docker
OCTOBOT_TEST_SOAK=200 scripts/test.sh -v -run '^TestFollowedLogsAreWhole$' -timeout=0 -- ./internal/container/docker
OCTOBOT_TEST_SOAK=1000 scripts/test.sh -v -run '^TestExecsAreWhole$' -timeout=0 -- ./internal/container/docker
OCTOBOT_TEST_SOAK=1 scripts/test.sh -v -run '^TestTerminalCuts$' -timeout=0 -- ./internal/systemtest
exec scripts/test.sh -timeout=0 -count="${COUNT:-10}"
