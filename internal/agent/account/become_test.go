package account

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestOtherThreadsStayRoot looks while a user's thread is at work.
func TestOtherThreadsStayRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may be somebody else")
	}
	a := Account{UID: 61000, GID: 61000}
	fsuids := func() (users, roots int) {
		files, _ := filepath.Glob("/proc/self/task/*/status")
		for _, file := range files {
			b, err := os.ReadFile(file)
			if err != nil {
				continue // ended
			}
			for line := range strings.Lines(string(b)) {
				if f := strings.Fields(line); len(f) == 5 && f[0] == "Uid:" {
					switch f[4] {
					case "61000":
						users++
					case "0":
						roots++
					}
				}
			}
		}
		return users, roots
	}
	started, release, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		ended <- a.Do(func() error {
			close(started)
			<-release
			return nil
		})
	}()
	<-started
	for range 200 { // goroutines started now must not land on a thread that came from the user's
		ok := make(chan error)
		go func() {
			_, err := os.ReadDir("/root")
			ok <- err
		}()
		if err := <-ok; err != nil {
			t.Fatal(err)
		}
	}
	if users, roots := fsuids(); users != 1 || roots < 2 {
		t.Errorf("%d threads are the user's and %d root's; want 1 and more", users, roots)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if users, _ := fsuids(); users == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the user's thread lives on")
		}
	}
}

// TestDoPanics: one operation's must not end the process.
func TestDoPanics(t *testing.T) {
	a := Account{UID: os.Geteuid(), GID: os.Getegid()}
	if err := a.Do(func() error { panic("trouble") }); err == nil || !strings.Contains(err.Error(), "trouble") {
		t.Errorf("error is %v", err)
	}
}
