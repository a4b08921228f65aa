#!/usr/bin/env bash
# Writes the root file system of the tests' image as a tar to stdout: busybox,
# the users root and user (1000), and nothing else.
set -euo pipefail

busybox=$(command -v busybox) || { echo "error: busybox is missing (Debian: busybox-static)" >&2; exit 1; }
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT

mkdir -p "$root"/{bin,dev,etc,home/user,proc,root,sys,tmp}
chmod 1777 "$root/tmp"
chmod 700 "$root/root"
cp "$busybox" "$root/bin/busybox"
"$busybox" --list | while read -r applet; do
	[[ $applet == busybox ]] || ln -s busybox "$root/bin/$applet"
done
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
user:x:1000:1000:user:/home/user:/bin/sh
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
user:x:1000:
GROUP
chown 1000:1000 "$root/home/user"
tar --numeric-owner -C "$root" -cf - .
