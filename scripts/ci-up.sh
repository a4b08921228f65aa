#!/usr/bin/env bash
# For .ci/run: a fresh machine's first command, twice, beside whatever runs here already, again
# when its session was removed, and in a second checkout beside it. Then the machine is as it was,
# but for packages and the images that its engine keeps. What an earlier run, if it was killed, left
# here goes with this one.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh

home=/var/tmp/octobot-ci
mkdir -p "$home"
exec {lock}>"$home/lock"
flock --timeout 600 "$lock" || die "another run of this script has not ended"
export OCTOBOT_DATA_DIR=$home/data OCTOBOT_LISTEN=127.0.0.1:0 TMPDIR=$home/tmp
rm -rf --one-file-system "$TMPDIR"
mkdir -m 1777 "$TMPDIR"

# remember writes down what a dockerd that "make up" starts will change, unless a run that was
# killed has done so.
remember() {
	[[ ! -e $home/before ]] || return 0
	rm -rf "$home/before.new"
	mkdir "$home/before.new"
	bridges >"$home/before.new/bridges"
	cat /proc/sys/net/ipv4/ip_forward >"$home/before.new/ip_forward"
	if command -v iptables-save >/dev/null; then iptables-save >"$home/before.new/iptables"; fi
	mv "$home/before.new" "$home/before"
}

bridges() { find /sys/class/net -maxdepth 1 \( -name docker0 -o -name 'br-*' \) -printf '%f\n' | sort; }

# make_without_lock runs a target whose daemons must not hold the lock when this script has been killed.
make_without_lock() { make --no-print-directory "$@" {lock}>&-; }

# first is the ID of the first session of a data directory.
first() { cat "$1/first-session" 2>/dev/null || echo demo; }

# up_again removes the first session, and runs "make up" again, in a checkout with a data directory.
up_again() {
	OCTOBOT_DATA_DIR=$2 bin/octobot rm -f "$(first "$2")"
	OCTOBOT_DATA_DIR=$2 make_without_lock -C "$1" up
	[[ $(OCTOBOT_DATA_DIR=$2 bin/octobot ls --status running -q) == "$(first "$2")" ]] || die "\"make up\" left no session in $2"
}

# second runs it all in another checkout, whose first session can't be demo, and loses its container.
second() {
	mkdir -p "$home/checkout"
	git ls-files -z | xargs -0 cp -P --parents --target-directory="$home/checkout"
	OCTOBOT_DATA_DIR=$home/data2 make_without_lock -C "$home/checkout" up
	[[ $(first "$home/data2") != demo ]] || die "two containers are named alike"
	up_again "$home/checkout" "$home/data2"
	docker rm -f "octobot-session-$(first "$home/data2")" >/dev/null
	OCTOBOT_DATA_DIR=$home/data2 make_without_lock -C "$home/checkout" up
	take_down "$home/checkout" "$home/data2"
}

# take_down removes the sessions of a data directory, also one that a run was killed while making, and
# checks that nothing is left of them on the engine.
take_down() {
	local network sessions
	network=$(docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{$name}}{{end}}' \
		"octobot-session-$(first "$2")")
	mapfile -t sessions < <(OCTOBOT_DATA_DIR=$2 bin/octobot ls -q)
	OCTOBOT_DATA_DIR=$2 bin/octobot rm -f "${sessions[@]}"
	OCTOBOT_DATA_DIR=$2 make_without_lock -C "$1" down
	# The daemon has removed it, at the latest when it ended.
	! docker network inspect "$network" >/dev/null 2>&1 || die "the network $network stays, unused"
}

# forget undoes what "make up" did. What it can't undo stays for the next run.
forget() {
	[[ $ours == no ]] || restore
	rm -rf --one-file-system "$home"
}

# restore undoes what dockerd changes and does not change back.
restore() {
	local bridge
	while read -r bridge; do
		ip link delete "$bridge"
	done < <(comm -13 "$home/before/bridges" <(bridges))
	if [[ -e $home/before/iptables ]]; then
		iptables-restore <"$home/before/iptables"
	else
		iptables -P FORWARD ACCEPT
		for table in filter nat; do
			iptables -t "$table" -F
			iptables -t "$table" -X
		done
	fi
	cat "$home/before/ip_forward" >/proc/sys/net/ipv4/ip_forward
	find /sys/fs/cgroup -maxdepth 2 -type d -name docker -exec rmdir {} + 2>/dev/null || true
}

remember
if [[ -e $OCTOBOT_DATA_DIR ]]; then
	say "an earlier run was killed; going on with what it left"
	[[ ! -e $home/data2 ]] || OCTOBOT_DATA_DIR=$home/data2 make_without_lock down
	make_without_lock down
fi
make_without_lock up
make_without_lock up
ours=no
[[ ! -e $OCTOBOT_DATA_DIR/dockerd.pid ]] || ours=yes
up_again . "$OCTOBOT_DATA_DIR"
second
take_down . "$OCTOBOT_DATA_DIR"
forget
