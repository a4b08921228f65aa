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
*/*) [ -f "$1" ] && [ -x "$1" ] && file=$1 ;;
*) file=$(command -v "$1" 2>/dev/null) ;;
esac || exit 127
# What the kernel does not execute, a shell would take for a script of its own, and nothing here
# can try without. So what only binfmt_misc executes is refused too, where it is no ELF.
case $file in
*/*)
	line=
	{ IFS= read -r line <"$file"; } 2>/dev/null
	case $line in
	?ELF*) ;;
	'#!'*)
		line=${line#??}
		line=${line#"${line%%[! 	]*}"}
		line=${line%%[ 	]*}
		[ -f "$line" ] || { printf %s "$1: no such file or directory: $line"; exit 127; }
		;;
	*) [ ! -r "$file" ] || { printf %s "$1: exec format error"; exit 126; } ;;
	esac
	;;
esac
printf %s "$marker"
unset line marker shell file
exec "$@"
