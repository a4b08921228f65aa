#!/usr/bin/env bash
# Builds the default session image where the engine does not have it, or has one of other
# inputs: from the Dockerfile where a registry answers, else from the distribution's packages
# with mmdebstrap. The engine is the one that docker, or else podman, talks to.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/packages.sh
source "$here/../../scripts/packages.sh"

# The full name: Podman would take a short one for localhost's.
image=docker.io/octobot/session:latest
base=$(sed -n 's/^FROM //p' "$here/Dockerfile")
label=run.octobot.inputs

main() {
	docker=$(command -v docker || command -v podman) || die "neither docker nor podman is installed"
	inputs=$(cat "$here"/{Dockerfile,packages,setup.sh,build.sh} | sha256sum | cut -c 1-32)
	if [[ $("$docker" image inspect -f "{{index .Config.Labels \"$label\"}}" "$image" 2>/dev/null) == "$inputs" ]]; then
		say "the session image is there"
		return
	fi
	if has_base && from_dockerfile; then
		return
	fi
	from_packages
}

# has_base tells whether the Dockerfile's base can be had, within a time that nobody minds.
has_base() {
	"$docker" image inspect "$base" >/dev/null 2>&1 && return
	# A registry that wants a login first has answered too.
	[[ $(curl --silent --max-time 5 --output /dev/null --write-out '%{http_code}' https://registry-1.docker.io/v2/) =~ ^(200|401)$ ]] &&
		timeout 120 "$docker" pull "$base" >/dev/null
}

from_dockerfile() {
	say "building the session image from its Dockerfile"
	"$docker" build --label "$label=$inputs" --tag "$image" "$here"
}

from_packages() {
	say "building the session image from the distribution's packages (no registry answers; about half a minute)"
	need_packages "the session image" mmdebstrap
	local options=()
	work=$(mktemp -d)
	trap 'rm -rf "$work"' EXIT

	sources >"$work/sources.list"
	if [[ ! -s $work/sources.list ]]; then
		apt_get update
		sources >"$work/sources.list"
	fi
	[[ -s $work/sources.list ]] || die "apt knows no source of this distribution's packages"
	apt-config dump | grep -E '^Acquire::(https?|ftp)::' >"$work/apt.conf" || true
	echo 'Acquire::Retries "3";' >>"$work/apt.conf"

	mmdebstrap --variant=minbase --aptopt="$work/apt.conf" \
		--include="$(paste -sd, "$here/packages")" \
		--customize-hook="copy-in '$here/setup.sh' /tmp" \
		--customize-hook='chroot "$1" sh /tmp/setup.sh && rm "$1/tmp/setup.sh"' \
		"$(. /etc/os-release && echo "$VERSION_CODENAME")" "$work/root.tar" "$work/sources.list" >"$work/log" 2>&1 ||
		{ cat "$work/log" >&2; die "mmdebstrap failed; its output is above"; }

	while read -r line; do
		options+=(--change "$line")
	done < <(grep -E '^(ENV|USER|WORKDIR|CMD) ' "$here/Dockerfile")
	"$docker" import "${options[@]}" --change "LABEL $label=$inputs" "$work/root.tar" "$image" >/dev/null
}

# sources gives the distribution's own among the machine's package sources, so that its
# mirrors are used too.
sources() {
	local origin
	origin=$(. /etc/os-release && echo "$ID")
	apt-get indextargets --format 'deb $(REPO_URI) $(RELEASE) $(COMPONENT)' \
		'Created-By: Packages' "Origin: ${origin^}" | sort -u
}

main
