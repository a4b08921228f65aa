#!/usr/bin/env bash
# make down: stops what make up started. Sessions, containers and data are kept.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
source scripts/state.sh

if runs "$daemon_pid" octobot; then
	running=$(bin/octobot ls --status running -q)
	if grep -qx -- "$first" <<<"$running"; then
		say "stopping the session \"$first\""
		bin/octobot stop "$first" >/dev/null || say "it could not be stopped; going on"
	fi
	say "stopping the daemon"
fi
finish "$daemon_pid" octobot 40

if [[ $(cat "$engine_pid" 2>/dev/null) == systemd ]]; then
	say "stopping dockerd"
	systemctl stop docker.socket docker
	rm -f "$engine_pid"
elif [[ -e $engine_pid ]]; then
	say "stopping dockerd, and with it every container it still runs"
	finish "$engine_pid" dockerd 60
fi
say "down. Sessions and their containers are kept: \"make up\" brings them back ($OCTOBOT_DATA_DIR)"
