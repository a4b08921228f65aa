#!/usr/bin/env bash
# make up: an engine that answers, the session image, the daemon, and a first session.
# Whatever is there already is used; running it again is harmless.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
source scripts/state.sh

main() {
	command -v go >/dev/null || die "Go is missing; see https://go.dev/doc/install (go.mod names the version)"
	install -d -m 700 "$OCTOBOT_DATA_DIR"
	say "building bin/octobot"
	make --no-print-directory build
	engine
	images/session/build.sh
	daemon
	session
}

# engine makes sure that one answers; DOCKER_HOST names it from then on, where
# the docker command would not find it by itself.
engine() {
	if answers || find_socket; then
		say "using the engine that answers${DOCKER_HOST:+ at $DOCKER_HOST}"
		return
	fi
	if [[ -n ${DOCKER_HOST:-} ]]; then
		command -v docker >/dev/null || die "DOCKER_HOST is set, and the docker command is missing. Install it, or unset DOCKER_HOST."
		die "the engine at DOCKER_HOST=$DOCKER_HOST does not answer. Start it, or unset DOCKER_HOST."
	fi
	if [[ $(uname -s) != Linux ]] || ((EUID != 0)) || ! command -v apt-get >/dev/null; then
		die "no container engine answers. Install and start Docker (https://docs.docker.com/engine/install/) or Podman, and run this again."
	fi

	need_packages "running containers" docker.io iptables
	# Where the command is a package of its own.
	command -v docker >/dev/null || need_packages "talking to Docker" docker-cli
	answers || start_engine
}

answers() {
	command -v docker >/dev/null && timeout 10 docker version >/dev/null 2>&1
}

# find_socket looks where Docker and Podman listen by default.
find_socket() {
	local socket runtime=${XDG_RUNTIME_DIR:-/run/user/$EUID}
	[[ -z ${DOCKER_HOST:-} ]] || return
	for socket in /var/run/docker.sock "$runtime/docker.sock" /run/podman/podman.sock "$runtime/podman/podman.sock" \
		"$HOME/.colima/default/docker.sock" "$HOME/.orbstack/run/docker.sock" "$HOME/.docker/run/docker.sock"; do
		if [[ $(curl --silent --max-time 5 --unix-socket "$socket" http://engine/_ping 2>/dev/null) == OK ]]; then
			export DOCKER_HOST=unix://$socket
			return
		fi
	done
	return 1
}

start_engine() {
	local tries pid=
	if runs /var/run/docker.pid dockerd; then
		say "waiting for the dockerd that the package started"
	elif [[ -d /run/systemd/system ]]; then
		say "starting dockerd"
		systemctl start docker
		echo systemd >"$engine_pid"
	else
		say "starting dockerd"
		setsid dockerd >>"$engine_log" 2>&1 </dev/null &
		pid=$!
		echo "$pid" >"$engine_pid"
	fi
	for ((tries = 0; tries < 300; tries++)); do
		answers && return
		[[ -z $pid ]] || kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	[[ -z $pid ]] || tail -n 20 "$engine_log" >&2
	die "dockerd does not answer${pid:+; its log is above}"
}

daemon() {
	local tries pid
	if runs "$daemon_pid" octobot; then
		say "the daemon runs already (\"make down\" first to run a new build)"
		return
	fi
	say "starting the daemon (data in $OCTOBOT_DATA_DIR)"
	choose_port
	setsid bin/octobot serve >>"$daemon_log" 2>&1 </dev/null &
	pid=$!
	echo "$pid" >"$daemon_pid"
	for ((tries = 0; tries < 200; tries++)); do
		if curl --silent --fail --max-time 5 --output /dev/null --unix-socket "$OCTOBOT_DATA_DIR/octobot.sock" http://octobot/readyz; then
			return
		fi
		kill -0 "$pid" 2>/dev/null || break
		sleep 0.1
	done
	tail -n 20 "$daemon_log" >&2
	die "the daemon is not ready; its log is above, all of it in $daemon_log"
}

# choose_port has the daemon listen on a free port where nobody chose one, and the usual one is
# another daemon's.
choose_port() {
	if [[ -v OCTOBOT_LISTEN || -v OCTOBOT_CONFIG || -e $OCTOBOT_DATA_DIR/config.yaml || -e /etc/octobot/config.yaml ]]; then
		return
	fi
	if (: </dev/tcp/127.0.0.1/7080) 2>/dev/null; then
		say "port 7080 is taken; the API's is a free one"
		export OCTOBOT_LISTEN=127.0.0.1:0
	fi
}

# session makes the first session: demo, unless that can't be had, since a container of another
# instance on this engine has the name, for one.
session() {
	local known failed problem
	known=$(bin/octobot ls -q)
	if grep -qx -- "$first" <<<"$known" && ! bin/octobot start "$first" >/dev/null; then
		failed=$(bin/octobot ls -q --status failed)
		grep -qx -- "$first" <<<"$failed" || die "the session \"$first\" does not start"
		say "the session \"$first\" has lost its container; removing it"
		bin/octobot rm "$first" >/dev/null
		known=
	fi
	if ! grep -qx -- "$first" <<<"$known"; then
		first=demo
		say "creating the session \"$first\""
		if problem=$(bin/octobot create "$first" 2>&1 >/dev/null); then
			rm -f "$first_session"
		else
			say "that can't be had (${problem#octobot: create demo: }); creating one with an ID of its own"
			first=$(bin/octobot create)
			echo "$first" >"$first_session"
		fi
		echo "$first"
	fi
	say "running a command in it"
	bin/octobot exec "$first" -- sh -c '. /etc/os-release; echo "hello from $(hostname), $PRETTY_NAME"'
	cat <<-TEXT

		Octobot is up. Try next:

		  bin/octobot exec -it $first -- bash   a shell in the session
		  bin/octobot ls                      all sessions
		  bin/octobot create my-session       one more
		  bin/octobot --help                  everything else
		  make down                           stop it all; data is kept

	TEXT
}

main
