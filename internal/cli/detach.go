package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// errDetached: the user typed the detach keys.
var errDetached = errors.New("detached")

// parseKeys reads a sequence of keys: "ctrl-p,ctrl-q", "ctrl-],x".
func parseKeys(s string) ([]byte, error) {
	var keys []byte
	for key := range strings.SplitSeq(s, ",") {
		name, ctrl := strings.CutPrefix(strings.ToLower(key), "ctrl-")
		switch {
		case ctrl && len(name) == 1 && name[0] >= 'a' && name[0] <= 'z':
			keys = append(keys, name[0]-'a'+1)
		case ctrl && len(name) == 1 && strings.ContainsAny(name, `@[\]^_`):
			keys = append(keys, name[0]-'@')
		case !ctrl && len(key) == 1 && key[0] > ' ' && key[0] <= '~':
			keys = append(keys, key[0])
		default:
			return nil, fmt.Errorf("%q is not a key; allowed: single characters and ctrl-a to ctrl-z, ctrl-@ [ \\ ] ^ _, with commas between them", key)
		}
	}
	return keys, nil
}

// detachReader passes input on up to the detach keys, where it gives errDetached. Keys that
// may be their beginning are held back until the next one tells.
type detachReader struct {
	r    io.Reader
	keys []byte
	held []byte // a proper beginning of keys
}

// Read gives no more than p holds, whatever was held back: p has room for the keys besides.
func (d *detachReader) Read(p []byte) (int, error) {
	if len(p) <= len(d.keys) {
		return 0, io.ErrShortBuffer
	}
	for {
		in := make([]byte, len(p)-len(d.keys))
		n, err := d.r.Read(in)
		out := p[:0]
		for _, b := range in[:n] {
			d.held = append(d.held, b)
			if bytes.Equal(d.held, d.keys) {
				d.held = nil
				return len(out), errDetached
			}
			for !bytes.HasPrefix(d.keys, d.held) {
				out, d.held = append(out, d.held[0]), d.held[1:]
			}
		}
		if err != nil {
			out, d.held = append(out, d.held...), nil
		}
		if len(out) > 0 || err != nil {
			return len(out), err
		}
	}
}
