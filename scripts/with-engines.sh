#!/usr/bin/env bash
# with-engines.sh ENGINE... -- COMMAND...
#
# Runs COMMAND beside private engines ("docker", "podman") that hold the image
# octobot-test:busybox, and ends them with it. They and COMMAND live in mount, PID and network
# namespaces of their own: another engine of this machine, its containers, its bridge and its
# firewall are never touched, nothing outside is reached, and no process outlives this script,
# however it ends. So what COMMAND needs from the network must be there before. Files and
# cgroups go with the script, or, where it was killed, with the next one that runs.
#
# COMMAND finds OCTOBOT_TEST_DOCKER_HOST, OCTOBOT_TEST_PODMAN_HOST, OCTOBOT_TEST_IMAGE, the parent for
# the cgroups of engines of its own in OCTOBOT_TEST_CGROUP, and a TMPDIR of its own.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=scripts/packages.sh
source "$here/packages.sh"

usage='usage: with-engines.sh docker|podman... -- COMMAND...'
image=octobot-test:busybox

outside() {
	[[ $(uname -s) == Linux ]] || die "private engines need Linux. Run this in a Linux machine or VM."
	((EUID == 0)) || die "private engines need root. Run this with sudo."

	local engine packages=(busybox-static curl iproute2 iptables procps util-linux)
	for engine; do
		case $engine in
		docker) packages+=(docker.io) ;;
		podman) packages+=(podman runc conmon netavark aardvark-dns catatonit) ;;
		--) break ;;
		*) die "$usage" ;;
		esac
	done
	need_packages "the tests' engines" "${packages[@]}"

	local status=0 lock
	namespaces=
	remove_stale
	dir=$(mktemp -d "${TMPDIR:-/tmp}/octobot-engines.XXXXXX")
	exec {lock}>"$dir/lock.new"
	flock "$lock"
	mv "$dir/lock.new" "$dir/lock"
	# The tests' own servers run as other users, and pass through here.
	chmod 711 "$dir"
	mkdir -m 1777 "$dir/tmp"
	trap cleanup EXIT
	trap 'exit 130' INT
	trap 'exit 143' TERM HUP
	# In the background, so that bash heeds signals. If this script is killed, so is the rest.
	OCTOBOT_ENGINES_DIR=$dir setpriv --pdeathsig KILL unshare --mount --propagation private \
		--net --pid --fork --kill-child --mount-proc "$0" "$@" <&0 {lock}>&- &
	namespaces=$!
	wait "$namespaces" || status=$?
	exit "$status"
}

# cleanup kills the namespaces' first process, where it lives, and so all of them.
cleanup() {
	if [[ -n $namespaces ]]; then
		pkill -KILL -P "$namespaces" || true
		thaw "$dir"
		wait "$namespaces" || true
	fi
	remove_dir "$dir"
}

# remove_dir takes away a run's directory, and the cgroups of containers that were killed with
# their engine. An engine makes them anew where it needs them.
remove_dir() {
	local roots
	find_cgroups "$1"
	find /sys/fs/cgroup -depth -type d \( "${roots[@]}" \) -exec rmdir {} + 2>/dev/null || true
	find /sys/fs/cgroup -depth -type d \( -path '*/libpod_parent/conmon' -o -name libpod_parent -o -name octobot-engines \) \
		-exec rmdir {} + 2>/dev/null || true
	# The engines of a run that was killed may be about to end.
	rm -rf --one-file-system "$1" 2>/dev/null || { sleep 1 && rm -rf --one-file-system "$1"; }
}

# find_cgroups sets roots to what "find" knows the cgroups of a run's containers by.
find_cgroups() {
	local container
	roots=(-path "*/octobot-engines/${1##*.}*")
	for container in "$1"/podman/graph/*-containers/*/; do
		roots+=(-o -path "*/libpod_parent/libpod-$(basename "$container")*")
	done
}

# thaw lets the processes of paused containers go on, which can't die otherwise.
thaw() {
	local roots file
	find_cgroups "$1"
	find /sys/fs/cgroup \( "${roots[@]}" \) \( -name freezer.state -o -name cgroup.freeze \) 2>/dev/null |
		while read -r file; do
			if [[ $file == */freezer.state ]]; then echo THAWED >"$file"; else echo 0 >"$file"; fi || true
		done
}

# remove_stale does so for runs that were killed, and so hold no lock any more.
remove_stale() {
	local stale lock
	for stale in "${TMPDIR:-/tmp}"/octobot-engines.*/; do
		stale=${stale%/}
		[[ -e $stale/lock ]] || continue
		exec {lock}<"$stale/lock"
		if flock --nonblock "$lock"; then remove_dir "$stale"; fi
		exec {lock}<&-
	done
}

# inside runs as the first process of the namespaces: when it ends, all ends.
inside() {
	dir=$OCTOBOT_ENGINES_DIR
	unset OCTOBOT_ENGINES_DIR DOCKER_HOST DOCKER_CONTEXT CONTAINER_HOST
	ip link set lo up
	# The engines keep state at fixed places too, which must not be another engine's.
	mount -t tmpfs -o mode=755 tmpfs /run
	mkdir -p /run/lock
	# A short path, since sockets lie below it, and one that sessions may mount from.
	mount --bind "$dir/tmp" /media
	export TMPDIR=/media
	export OCTOBOT_TEST_CGROUP=/octobot-engines/${dir##*.}

	while (($#)) && [[ $1 != -- ]]; do
		"start_$1"
		shift
	done
	shift || die "$usage"
	export OCTOBOT_TEST_IMAGE=$image
	"$@"
}

start_docker() {
	local home=$dir/docker
	mkdir "$home"
	echo '{}' >"$home/daemon.json"
	export OCTOBOT_TEST_DOCKER_HOST=unix://$home/docker.sock
	dockerd --config-file "$home/daemon.json" --data-root "$home/data" --exec-root "$home/exec" --pidfile "$home/pid" \
		--cgroup-parent "$OCTOBOT_TEST_CGROUP" -H "$OCTOBOT_TEST_DOCKER_HOST" >"$home/log" 2>&1 </dev/null &
	await docker $! "$home/docker.sock" "$home/log"
	import_image "$home/docker.sock"
}

start_podman() {
	local home=$dir/podman driver=overlay
	mkdir "$home"
	# Overlay can't lie on overlay, which is what a container's root is.
	[[ $(stat -f -c %T "$home") == overlayfs ]] && driver=vfs
	cat >"$home/storage.conf" <<-CONF
		[storage]
		driver = "$driver"
		graphroot = "$home/graph"
		runroot = "$home/run"
	CONF
	# The limits and the OCI runtime are those that work without CAP_SYS_RESOURCE
	# and on a hybrid cgroup hierarchy. A log of events that is rotated, at 1 MB
	# else, ends the streams that read it.
	cat >"$home/containers.conf" <<-CONF
		[containers]
		default_ulimits = ["nofile=20000:20000", "nproc=4096:4096"]
		[engine]
		cgroup_manager = "cgroupfs"
		events_logger = "file"
		events_logfile_max_size = "0"
		runtime = "runc"
		[network]
		network_config_dir = "$home/networks"
	CONF
	export OCTOBOT_TEST_PODMAN_HOST=unix://$home/podman.sock
	CONTAINERS_STORAGE_CONF=$home/storage.conf CONTAINERS_CONF=$home/containers.conf \
		podman system service --time=0 "$OCTOBOT_TEST_PODMAN_HOST" >"$home/log" 2>&1 </dev/null &
	await podman $! "$home/podman.sock" "$home/log"
	import_image "$home/podman.sock"
}

# await NAME PID SOCKET LOG waits until the engine answers.
await() {
	local tries
	for ((tries = 0; tries < 600; tries++)); do
		if [[ $(api "$3" /_ping 2>/dev/null) == OK ]]; then
			return 0
		fi
		if ! kill -0 "$2" 2>/dev/null; then
			break
		fi
		sleep 0.1
	done
	tail -n 30 "$4" >&2
	die "$1 did not start; its log is above"
}

import_image() {
	"$here/test-image.sh" | api "$1" "/images/create?fromSrc=-&repo=$image" \
		-X POST -H 'Content-Type: application/x-tar' --data-binary @- >/dev/null
	api "$1" "/images/$image/json" >/dev/null || die "the image $image could not be imported"
}

# api SOCKET PATH CURL-ARGUMENT... asks an engine.
api() {
	curl --silent --show-error --fail --noproxy '*' --unix-socket "$1" "http://engine$2" "${@:3}"
}

if [[ -n ${OCTOBOT_ENGINES_DIR:-} ]]; then inside "$@"; else outside "$@"; fi
