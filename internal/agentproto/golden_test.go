package agentproto

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the transcript of this version anew")

// TestTranscripts: what is said has the bytes that it had, and what agents and daemons of released
// versions say is still understood: containers keep the agent that they were made with. A change
// that makes a new transcript leaves those of released versions as they are, in files of their own.
func TestTranscripts(t *testing.T) {
	current := filepath.Join("testdata", fmt.Sprintf("version-%d.txt", Version))
	var transcript bytes.Buffer
	for _, m := range messages() {
		frame, err := appendFrame(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&transcript, "%T %s\n", m, hex.EncodeToString(frame))
	}
	if *update {
		if err := os.WriteFile(current, transcript.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(current); err != nil || transcript.String() != string(want) {
		t.Errorf("it is not what is in %s: %v; fields are only added at the end:\n%s", current, err,
			transcript.String())
	}
	files, err := filepath.Glob("testdata/version-*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		understand(t, file)
	}
}

// understand reads a transcript's messages.
func understand(t *testing.T, file string) {
	t.Helper()
	known := map[string]Message{}
	for _, m := range messages() {
		known[fmt.Sprintf("%T", m)] = m
	}
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		name, digits, _ := strings.Cut(lines.Text(), " ")
		m := known[name]
		frame, err := hex.DecodeString(digits)
		if err != nil || m == nil {
			t.Errorf("%s: %s: %v", file, name, err)
			continue
		}
		r := bytes.NewReader(frame)
		kind, payload, err := readFrame(r, nil, MaxFrame)
		if err != nil || kind != m.Kind() {
			t.Errorf("%s: %s: a frame of kind %d, %v", file, name, kind, err)
			continue
		}
		if err := Decode(payload, empty(m)); err != nil {
			t.Errorf("%s: %s: %v", file, name, err)
		}
		if _, _, err := readFrame(r, nil, MaxFrame); !errors.Is(err, io.EOF) {
			t.Errorf("%s: %s: more follows: %v", file, name, err)
		}
	}
}
