#!/usr/bin/env bash
# make agent: builds the agent for every architecture, as internal/agentbin embeds it. The same sources
# give the same bytes, whoever builds them and where: what an engine has is told by its hash.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

most=$((4 << 20)) # internal/agentbin has the same bound
dist=internal/agentbin/dist
mkdir -p .cache
work=$(mktemp -d .cache/agent.XXXXXX)
trap 'rm -rf "$work"' EXIT

for arch in amd64 arm64; do
	name=octobot-agent-linux-$arch
	CGO_ENABLED=0 GOOS=linux GOARCH=$arch GOAMD64=v1 GOARM64=v8.0 \
		go build -trimpath -buildvcs=false -ldflags '-s -w -buildid=' -o "$work/$name" ./cmd/octobot-agent
	size=$(($(wc -c <"$work/$name")))
	((size <= most)) || die "$name has $size bytes, more than $most"
	gzip -9nc "$work/$name" >"$work/$name.gz"
	# Others may be compiling what embeds it.
	cmp -s "$work/$name.gz" "$dist/$name.gz" || mv "$work/$name.gz" "$dist/$name.gz"
done
