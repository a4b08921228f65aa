// Package docker runs sessions' containers on a Docker engine, 19.03 to current, or on
// Podman through its Docker API.
//
// # What a container gets
//
// An init as process 1, so that orphans are reaped and signals have their usual effect. A log with
// a cap on its size. No new privileges, and of the capabilities only those that let root install
// packages and serve files: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETFCAP,
// NET_BIND_SERVICE and SYS_CHROOT. Docker's own list has SETPCAP, MKNOD, NET_RAW and AUDIT_WRITE as
// well; with them a session could forge packets and make device nodes. Limits on memory (swap
// included), CPU and processes. A network of the project's own, or on Podman of the session's,
// without traffic between containers. Ports on 127.0.0.1. Its stdin is kept open.
//
// # How commands are killed
//
// Docker has no call that ends a command which Exec has started, and the engine may be remote, so
// that its process IDs say nothing. Each command therefore carries a random tag in its environment
// (OCTOBOT_EXEC), which its children inherit, and when it has to end, a shell in the container, as
// the same user, looks for the tag and for descendants in /proc and kills what it finds; see
// kill.sh. An image without /bin/sh can't do that: the error says so, and wraps ctx's as always. A
// process that has replaced its environment as well as its parent and its terminal session escapes
// until the container stops.
//
// # Names
//
// A container is found by the session's name once, and its labels are checked; from then on its ID
// is used, which the engine never gives twice. A container of that name without our labels does not
// exist for this package.
package docker
