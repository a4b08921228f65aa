#!/usr/bin/env bash
# test.sh [GO-TEST-ARGUMENT...] [-- PACKAGE...]
#
# make test: every test, shuffled, on real engines and a real PostgreSQL of its own, with the race
# detector. See gotest.sh for what becomes of a test that fails. With arguments, what they say:
#
#	scripts/test.sh -run 'TestPodman/exit' -count=40 -- ./internal/container/docker
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

command -v go >/dev/null || die "Go is missing; see https://go.dev/doc/install (go.mod names the version)"
command -v gcc >/dev/null || need_packages "the race detector" gcc libc6-dev

need_packages "the tests of terminals" tmux vim-tiny less procps python3

# A server that the distribution's package would start is nobody's wish.
if ! compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null; then
	if ((EUID == 0)) && [[ ! -e /etc/postgresql-common/createcluster.conf ]]; then
		mkdir -p /etc/postgresql-common
		echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
	fi
	need_packages "the tests of the PostgreSQL store" postgresql
fi
OCTOBOT_TEST_POSTGRES_BIN=$(dirname "$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -n 1)")
export OCTOBOT_TEST_POSTGRES_BIN
export OCTOBOT_TEST_REQUIRED=1

arguments=()
while (($#)) && [[ $1 != -- ]]; do
	arguments+=("$1")
	shift
done
if (($#)); then
	packages=("${@:2}")
else
	# First those that take longest: the ones whose tests name an engine.
	mapfile -t packages < <(grep -rlE 'OCTOBOT_TEST_(DOCKER|PODMAN)_HOST' --include='*_test.go' . |
		xargs -rn 1 dirname | sort -u)
	mapfile -tO "${#packages[@]}" packages < <(comm -13 <(printf '%s\n' "${packages[@]}") \
		<(go list -f '{{.Dir}}' ./... | sed "s|^$PWD|.|" | sort))
fi

# The engines' namespaces have no way out, so all modules are fetched before.
go mod download
go -C tools mod download
scripts/agent.sh
scripts/with-engines.sh docker podman -- \
	scripts/gotest.sh -shuffle=on -count=1 -timeout=20m "${arguments[@]}" -- "${packages[@]}"
