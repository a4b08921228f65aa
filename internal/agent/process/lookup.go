package process

import (
	"cmp"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"

	"github.com/octobot-run/octobot/internal/agent/account"
	"github.com/octobot-run/octobot/internal/agentproto"
)

// defaultPath is where commands are looked for that have no PATH.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// executable finds the file of a command, with the command's own PATH, and checks what the kernel's
// answer to an execution would not tell apart.
func executable(s *Spec) (string, error) {
	if len(s.Args) == 0 {
		return "", agentproto.Errorf(agentproto.InvalidArgument, "no command is given")
	}
	if s.Dir != "" && !path.IsAbs(s.Dir) {
		return "", agentproto.Errorf(agentproto.InvalidArgument, "the working directory %q is not absolute", s.Dir)
	}
	if slices.ContainsFunc(s.Args, hasNUL) || slices.ContainsFunc(s.Env, hasNUL) || hasNUL(s.Dir) {
		return "", agentproto.Errorf(agentproto.InvalidArgument,
			"arguments, environment and directory can't hold the byte 0")
	}
	if s.Dir != "" {
		info, err := os.Stat(s.Dir)
		if err == nil && !info.IsDir() {
			err = syscall.ENOTDIR
		}
		if err != nil {
			return "", refused("chdir to cwd (%q) failed: %v", s.Dir, reason(err))
		}
	}
	name := s.Args[0]
	if strings.Contains(name, "/") {
		file := name
		if !path.IsAbs(name) && s.Dir != "" {
			file = s.Dir + "/" + name
		}
		if err := canExecute(file, s.Account); err != nil {
			return "", refused("exec: %q: %v", name, reason(err))
		}
		return file, nil
	}
	// A file that may not be executed counts only where no other one is found.
	var denied error
	if name != "" {
		for dir := range strings.SplitSeq(cmp.Or(valueOf(s.Env, "PATH"), defaultPath), ":") {
			// An empty part is the working directory, as shells have it.
			if dir == "" {
				dir = "."
			}
			file := dir + "/" + name
			if !path.IsAbs(dir) && s.Dir != "" {
				file = s.Dir + "/" + file
			}
			err := canExecute(file, s.Account)
			if err == nil {
				return file, nil
			}
			if reason(err) == syscall.EACCES {
				denied = err
			}
		}
	}
	if denied != nil {
		return "", refused("exec: %q: %v", name, reason(denied))
	}
	return "", refused("exec: %q: executable file not found in $PATH", name)
}

// Shell is the user's: the first that there is of $SHELL, bash and sh.
func Shell(s *Spec) string {
	const last = "/bin/sh"
	for _, shell := range []string{valueOf(s.Env, "SHELL"), "/bin/bash"} {
		if path.IsAbs(shell) && canExecute(shell, s.Account) == nil {
			return shell
		}
	}
	return last
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

func refused(format string, args ...any) error {
	return agentproto.Errorf(agentproto.CommandNotFound, format, args...)
}

func valueOf(env []string, name string) string {
	for _, v := range env {
		if value, ok := strings.CutPrefix(v, name+"="); ok {
			return value
		}
	}
	return ""
}

// canExecute tells whether the file's own mode lets the account execute it. The kernel has the last
// word.
func canExecute(file string, a account.Account) error {
	var st syscall.Stat_t
	if err := syscall.Stat(file, &st); err != nil {
		return err
	}
	if st.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		return syscall.EISDIR
	}
	bits := uint32(0o001)
	switch {
	case a.UID == 0:
		bits = 0o111
	case int(st.Uid) == a.UID:
		bits = 0o100
	case int(st.Gid) == a.GID || slices.Contains(a.Groups, int(st.Gid)):
		bits = 0o010
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFREG || st.Mode&bits == 0 {
		return syscall.EACCES
	}
	return nil
}

// reason is what the kernel said, without the call and the path that were tried.
func reason(err error) error {
	if e, ok := err.(*os.PathError); ok {
		return e.Err
	}
	return err
}
