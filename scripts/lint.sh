#!/usr/bin/env bash
# make lint: format, vet, staticcheck, known vulnerabilities, shell scripts, and the rules
# of internal/archtest. The linters' versions are in tools/go.mod.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

say "gofmt"
unformatted=$(git ls-files -z --cached --others --exclude-standard '*.go' | xargs -0r gofmt -l)
[[ -z $unformatted ]] || die "not formatted: $unformatted"

say "go mod tidy"
go mod tidy -diff

say "go vet"
go vet ./...

say "staticcheck"
go build -C tools -o "$PWD/.cache/" honnef.co/go/tools/cmd/staticcheck golang.org/x/vuln/cmd/govulncheck
.cache/staticcheck ./...

if curl --silent --fail --max-time 10 --output /dev/null "${GOVULNDB:-https://vuln.go.dev}/index/db.json"; then
	say "govulncheck"
	.cache/govulncheck ./...
else
	say "govulncheck left out: its database can't be reached from here"
fi

if command -v shellcheck >/dev/null; then
	say "shellcheck"
	shellcheck scripts/*.sh images/session/*.sh .ci/run
else
	say "shellcheck left out: it is not installed"
fi

say "archtest"
go test ./internal/archtest
