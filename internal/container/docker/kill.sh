# Ends what carries the tag $1: kill.sh TAG kill|hup|outputs
#
# Builtins of a POSIX shell alone; an image may have nothing else. "kill" ends every process that has
# the tag in its environment, descends from one that has, or is in the terminal
# session of one. "hup" does what the end of a terminal does: SIGHUP to its session.
# Exit code 0: nothing is left, neither to signal nor about to die.
#
# "outputs" ends nothing. Exit code 0: the first process with the tag has neither a pipe nor a terminal as
# its output; 3: it has; 4: it is not seen.
exec 2>/dev/null
tag=OCTOBOT_EXEC=$1 mode=$2

# Sets state, ppid and sid of process $1.
look() {
	state= line= part=
	# The name in the second field may hold anything, newlines and parentheses too.
	while IFS= read -r part || [ -n "$part" ]; do line=$part; done </proc/$1/stat
	set -- ${line##*) }
	state=$1 ppid=$2 sid=$4
	[ -n "$state" ] && [ "$state" != Z ] && [ "$state" != X ]
}

tagged() {
	part=
	while IFS= read -r part || [ -n "$part" ]; do
		case $part in *"$tag"*) return 0 ;; esac
	done </proc/$1/environ
	return 1
}

# Adds to $found, " 12 34 ", what is not in it yet, and to $new.
scan() {
	new=
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		case $found in *" $pid "*) continue ;; esac
		look $pid || continue
		case "$found" in
		*" $ppid "*) ;;
		*) case "$sids" in
			*" $sid "*) ;;
			*) tagged $pid || continue ;;
			esac ;;
		esac
		[ $pid = 1 ] && continue
		found="$found$pid " new="$new $pid"
		[ $sid = $pid ] && sids="$sids$sid "
	done
}

if [ "$mode" = hup ]; then
	for dir in /proc/[0-9]*; do
		pid=${dir#/proc/}
		look $pid && [ $sid = $pid ] && [ $ppid = 0 ] && tagged $pid || continue
		for member in /proc/[0-9]*; do
			look ${member#/proc/} && [ $sid = $pid ] && kill -HUP ${member#/proc/} && kill -CONT ${member#/proc/}
		done
	done
	exit 0
fi

if [ "$mode" = outputs ]; then
	for dir in /proc/[0-9]*; do
		look ${dir#/proc/} && [ $ppid = 0 ] && tagged ${dir#/proc/} || continue
		[ -e $dir/fd/0 ] || [ -e $dir/fd/1 ] || [ -e $dir/fd/2 ] || exit 4
		for fd in $dir/fd/1 $dir/fd/2; do
			[ -p $fd ] && exit 3
			[ -c $fd ] && ! [ $fd -ef /dev/null ] && exit 3
		done
		exit 0
	done
	exit 4
fi

round=0 killed=
while [ $round -lt 50 ]; do
	round=$((round + 1))
	found=' ' sids=' ' dying=
	# Stopped first, so that what is found can't make more.
	while scan; [ -n "$new" ]; do kill -STOP $new; done
	for pid in $killed; do look $pid && dying=$pid; done
	[ "$found$dying" = ' ' ] && exit 0
	kill -KILL $found
	killed="$killed $found"
done
exit 1
