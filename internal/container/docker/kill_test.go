package docker

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// The script must do in whatever shell an image has. It runs here on this machine's own
// processes, of which none but the test's have its tag.
func TestKillScript(t *testing.T) {
	if _, err := os.Stat("/proc/self/environ"); err != nil {
		t.Skip("needs Linux's /proc")
	}
	for _, shell := range [][]string{{"sh"}, {"dash"}, {"bash"}, {"busybox", "sh"}} {
		path, err := exec.LookPath(shell[0])
		if err != nil {
			continue // "sh" is everywhere
		}
		t.Run(strings.Join(shell, " "), func(t *testing.T) {
			tag := "test-" + strconv.Itoa(os.Getpid()) + "-" + shell[0]
			cmd := exec.CommandContext(t.Context(), "sh", "-c", `
				setsid sleep 1001 & echo $!
				env -i sleep 1002 & echo $!
				sh -c 'setsid sh -c "trap : TERM HUP; while :; do sleep 1003; done" & echo $!'
				echo $$ # and no more
				wait`)
			cmd.Env = append(os.Environ(), tagName+"="+tag, "A=with\nnewline")
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var pids []int
			for lines := bufio.NewScanner(out); len(pids) < 4 && lines.Scan(); {
				pid, err := strconv.Atoi(lines.Text())
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
			bystander := exec.CommandContext(t.Context(), "sleep", "1004")
			if err := bystander.Start(); err != nil {
				t.Fatal(err)
			}
			args := append(shell[1:len(shell):len(shell)], "-c", killScript, "sh", tag, killAll)
			if said, err := exec.CommandContext(t.Context(), path, args...).CombinedOutput(); err != nil {
				t.Errorf("kill.sh: %v: %s", err, said)
			}
			_ = cmd.Wait() // killed, as it should be
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("process %d lives", pid)
					_ = syscall.Kill(pid, syscall.SIGKILL)
				}
			}
			if !alive(bystander.Process.Pid) {
				t.Error("a bystander was killed")
			}
			_ = bystander.Process.Kill()
			_ = bystander.Wait() // ends by the kill
		})
	}
}

// alive reports whether a process runs; a dead one may wait for its parent.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(rest, "Z") && !strings.HasPrefix(rest, "X")
}
