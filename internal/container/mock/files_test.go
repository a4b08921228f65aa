package mock_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/mock"
)

// TestFileFaults: calls about files meet the trouble that is made for them, before or after the
// work.
func TestFileFaults(t *testing.T) {
	engine := mock.NewEngine()
	t.Cleanup(engine.Close)
	rt := engine.Provider("")
	ctx := t.Context()
	if _, err := rt.Create(ctx, "s", container.Options{Image: testImage, Cmd: []string{"sleep", "3600"}}); err != nil {
		t.Fatal(err)
	}
	if err := rt.Start(ctx, "s"); err != nil {
		t.Fatal(err)
	}
	write := func(data string) error {
		_, err := rt.WriteFile(ctx, "s", "/tmp/f", strings.NewReader(data), container.WriteFileOptions{})
		return err
	}
	read := func() (string, error) {
		_, r, err := rt.ReadFile(ctx, "s", "/tmp/f", container.ReadFileOptions{})
		if err != nil {
			return "", err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}
	if err := write("first"); err != nil {
		t.Fatal(err)
	}
	remove := engine.Inject(mock.Fault{Op: "writefile", Err: container.ErrNoSpace})
	if err := write("second"); !errors.Is(err, container.ErrNoSpace) {
		t.Errorf("error is %v", err)
	}
	remove()
	if got, err := read(); got != "first" || err != nil {
		t.Errorf("there is %q, %v", got, err)
	}
	engine.Inject(mock.Fault{Op: "writefile", Nth: 1, Err: container.ErrUnavailable, Done: true})
	if err := write("third"); !errors.Is(err, container.ErrUnavailable) {
		t.Errorf("error is %v", err)
	}
	if got, err := read(); got != "third" || err != nil {
		t.Errorf("there is %q, %v", got, err)
	}
	engine.Inject(mock.Fault{Op: "readfile", Err: container.ErrUnavailable, Done: true})
	if got, err := read(); !errors.Is(err, container.ErrUnavailable) {
		t.Errorf("there is %q, %v", got, err)
	}
	if n := engine.Calls("writefile"); n != 3 {
		t.Errorf("%d calls were counted; want 3", n)
	}
}
