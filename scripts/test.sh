#!/usr/bin/env bash
# make test: every test, on real engines and a real PostgreSQL of its own, with the race
# detector. Packages that need no engine run twice, shuffled. Arguments go to go test.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

command -v go >/dev/null || die "Go is missing; see https://go.dev/doc/install (go.mod names the version)"
command -v gcc >/dev/null || need_packages "the race detector" gcc libc6-dev

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

# The engines' namespaces have no way out, so all modules are fetched before.
go mod download
mkdir -p .cache
go build -o .cache/testreport ./scripts/testreport

scripts/with-engines.sh docker podman -- scripts/run-tests.sh "$@" |
	.cache/testreport -skips scripts/allowed-skips.txt
