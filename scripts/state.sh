# Sourced by up.sh and down.sh: where they keep what is between them.
# shellcheck shell=bash disable=SC2034

if ((EUID == 0)); then
	OCTOBOT_DATA_DIR=${OCTOBOT_DATA_DIR:-/var/lib/octobot}
else
	OCTOBOT_DATA_DIR=${OCTOBOT_DATA_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/octobot}
fi
export OCTOBOT_DATA_DIR
# The daemon is the one of this directory, whichever the shell's commands are for.
unset OCTOBOT_URL OCTOBOT_TOKEN
daemon_pid=$OCTOBOT_DATA_DIR/daemon.pid
daemon_log=$OCTOBOT_DATA_DIR/daemon.log
engine_pid=$OCTOBOT_DATA_DIR/dockerd.pid # "systemd" where that started it
engine_log=$OCTOBOT_DATA_DIR/dockerd.log
first_session=$OCTOBOT_DATA_DIR/first-session # its ID, where that is not demo
first=$(cat "$first_session" 2>/dev/null || echo demo)

# runs FILE NAME tells whether the process recorded in FILE lives and still is NAME.
runs() {
	local pid
	pid=$(cat "$1" 2>/dev/null) && [[ $(ps -o comm= -p "$pid" 2>/dev/null) == "$2" ]]
}

# finish FILE NAME SECONDS ends the process recorded in FILE, and waits for its end.
finish() {
	local pid tries
	if runs "$1" "$2"; then
		pid=$(cat "$1")
		kill "$pid"
		for ((tries = 0; tries < $3 * 10; tries++)); do
			runs "$1" "$2" || break
			sleep 0.1
		done
		! runs "$1" "$2" || die "$2 (process $pid) has not ended after $3 s"
	fi
	rm -f "$1"
}
