# Sourced by the other scripts: installs what they need of the distribution.
# shellcheck shell=bash

say() {
	if [[ -t 2 ]]; then printf '\033[1m==>\033[0m %s\n' "$*" >&2; else printf '==> %s\n' "$*" >&2; fi
}
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# need_packages WHY PACKAGE... installs the packages that are missing, where that
# is ours to do: as root on Debian or Ubuntu. Elsewhere it says what to install, and ends.
need_packages() {
	local why=$1 package missing=()
	shift
	for package; do
		installed "$package" || missing+=("$package")
	done
	((${#missing[@]})) || return 0
	if ! command -v apt-get >/dev/null; then
		die "$why needs what Debian calls: ${missing[*]}. Install it and run this again."
	fi
	if ((EUID != 0)); then
		die "$why needs packages that are missing. Run: sudo apt-get install ${missing[*]}"
	fi
	say "installing for $why: ${missing[*]}"
	apt_get update
	apt_get install -y --no-install-recommends "${missing[@]}"
}

installed() {
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# apt_get retries: mirrors fail now and then. It shows its output only when it fails for good.
apt_get() {
	local log attempt
	log=$(mktemp)
	for attempt in 1 2 3; do
		if DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=120 "$@" >"$log" 2>&1 </dev/null; then
			rm -f "$log"
			return 0
		fi
		# An installation that was killed keeps every later one from working.
		dpkg --configure -a >>"$log" 2>&1 </dev/null || true
		sleep $((attempt * 3))
	done
	cat "$log" >&2
	rm -f "$log"
	die "apt-get $* failed"
}
