# Runs a command on the terminal that the engine has made: tty.sh MARKER [COMMAND ARG...]
#
# Waits for a line first, since before API 1.42 an engine sets a terminal's size only once
# its process runs. What the line says is for stty, where the image has one. MARKER says that the
# command was found and that its output follows. Without a command it is the user's shell.
IFS= read -r line
marker=$1
shift
# shellcheck disable=SC2086 # several words
[ -z "$line" ] || stty $line 2>/dev/null
if [ $# = 0 ]; then
	for shell in "$SHELL" /bin/bash /bin/sh; do
		[ -f "$shell" ] && [ -x "$shell" ] && set -- "$shell" && break
	done
fi
case $1 in
*/*) [ -f "$1" ] && [ -x "$1" ] ;;
*) command -v "$1" >/dev/null 2>&1 ;;
esac || exit 127
printf %s "$marker"
unset line marker shell
exec "$@"
