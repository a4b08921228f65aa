package httpapi

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"sync"
	"unicode/utf8"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

const (
	// spoolMemory is how much of a stream is kept in memory; the rest goes into a file.
	spoolMemory = 64 << 10
	// What the files may hold at once, in all and of one project's commands. What does not fit is
	// cut, as what is longer than the server keeps.
	spoolAll = 4 << 30
	spoolOne = 1 << 30
)

// spools are the outputs of commands that are kept until their commands have ended.
type spools struct {
	dir string // of the files; empty: the system's for temporary ones

	mu     sync.Mutex
	all    int64                 // bytes in files; guarded by mu
	owners map[front.Owner]int64 // guarded by mu
}

// reserve takes room for n bytes of an owner's, if there is any.
func (s *spools) reserve(of front.Owner, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all+n > spoolAll || s.owners[of]+n > spoolOne {
		return false
	}
	if s.owners == nil {
		s.owners = make(map[front.Owner]int64)
	}
	s.all += n
	s.owners[of] += n
	return true
}

func (s *spools) free(of front.Owner, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all -= n
	if s.owners[of] -= n; s.owners[of] == 0 {
		delete(s.owners, of)
	}
}

// spool keeps one stream of a command's output, up to most bytes of it, with little memory however
// long it is. Writing to it never fails: what can't be kept is cut.
type spool struct {
	of    *spools
	owner front.Owner
	most  int64

	size   int64 // of what is kept
	memory []byte
	file   *os.File // without a name; nil while memory is enough
	filed  int64    // bytes in it, which are reserved
	cut    bool
	text   textMeter
}

func (s *spools) open(owner front.Owner) *spool {
	return &spool{of: s, owner: owner, most: container.DefaultMaxOutput}
}

// Write keeps b, or as much of it as it may.
func (s *spool) Write(b []byte) (int, error) {
	n := len(b)
	if room := s.most - s.size; int64(len(b)) > room {
		b, s.cut = b[:room], true
	}
	if s.cut && s.file == nil && len(b) == 0 {
		return n, nil
	}
	head := b[:min(len(b), spoolMemory-len(s.memory))]
	s.memory = append(s.memory, head...)
	kept := int64(len(head))
	if rest := b[len(head):]; len(rest) > 0 {
		kept += s.toFile(rest)
	}
	s.text.measure(b[:kept])
	s.size += kept
	if kept < int64(len(b)) {
		s.cut, s.most = true, s.size // nothing goes behind a gap
	}
	return n, nil
}

// toFile returns how much of b it has kept.
func (s *spool) toFile(b []byte) int64 {
	if !s.of.reserve(s.owner, int64(len(b))) {
		return 0
	}
	n, err := 0, error(nil)
	if s.file == nil {
		s.file, err = unnamedFile(s.of.dir)
	}
	if err == nil {
		n, _ = s.file.Write(b) // of a full disk, as much as it has taken
	}
	s.of.free(s.owner, int64(len(b)-n))
	s.filed += int64(n)
	return int64(n)
}

// unnamedFile makes a file that ends with its descriptor, however the process ends.
func unnamedFile(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "output-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// close gives back what the spool has taken.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close() // nobody reads it any more
	}
	if s.filed > 0 {
		s.of.free(s.owner, s.filed)
	}
}

// read returns what is kept, from its start.
func (s *spool) read() io.Reader {
	if s.file == nil {
		return bytes.NewReader(s.memory)
	}
	return io.MultiReader(bytes.NewReader(s.memory), io.NewSectionReader(s.file, 0, s.filed))
}

// textMeter finds out whether a stream is text, and how long it is as a JSON string.
type textMeter struct {
	binary bool
	size   int64 // as JSON
	raw    int64
	rest   []byte // of a rune whose end is still to come
}

func (m *textMeter) measure(b []byte) {
	m.raw += int64(len(b))
	for _, c := range b {
		switch {
		case c == '\n', c == '\r', c == '\t', c == '"', c == '\\', c == '\b', c == '\f':
			m.size += 2
		case c < ' ':
			m.size += 6
		default:
			m.size++
		}
	}
	for len(m.rest) > 0 && len(b) > 0 && !utf8.FullRune(m.rest) {
		m.rest, b = append(m.rest, b[0]), b[1:]
	}
	if len(m.rest) > 0 && utf8.FullRune(m.rest) {
		m.binary = m.binary || !utf8.Valid(m.rest)
		m.rest = m.rest[:0]
	}
	whole := len(b) - cutRune(b)
	m.binary = m.binary || !utf8.Valid(b[:whole])
	m.rest = append(m.rest, b[whole:]...)
}

// isText reports whether all of the stream is text.
func (m *textMeter) isText() bool { return !m.binary && len(m.rest) == 0 }

// cutRune returns how many bytes at b's end begin a rune and do not end it.
func cutRune(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if utf8.RuneStart(b[len(b)-n]) {
			if !utf8.FullRune(b[len(b)-n:]) {
				return n
			}
			return 0
		}
	}
	return 0
}

// writeExecResponse writes a [v1.ExecResponse] without holding it.
func writeExecResponse(w io.Writer, code int, stdout, stderr *spool) error {
	if err := writeOutput(w, fmt.Sprintf(`"exit_code":%d,`, code), stdout, stderr); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// writeOutput writes an object with the streams behind its first members. What is not text, or
// would be longer as text than as base64, goes as base64.
func writeOutput(w io.Writer, first string, stdout, stderr *spool) error {
	asText := stdout.text.isText() && stderr.text.isText() &&
		stdout.text.size+stderr.text.size <= 64+(stdout.text.raw+stderr.text.raw)*4/3
	encode, encoding := writeText, ""
	if !asText {
		encode, encoding = writeBase64, `,"encoding":"`+v1.EncodingBase64+`"`
	}
	if _, err := io.WriteString(w, `{`+first+`"stdout":"`); err != nil {
		return err
	}
	if err := encode(w, stdout.read()); err != nil {
		return err
	}
	if _, err := io.WriteString(w, `","stderr":"`); err != nil {
		return err
	}
	if err := encode(w, stderr.read()); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, `"%s,"truncated":%t}`, encoding, stdout.cut || stderr.cut)
	return err
}

// writeCutShort writes a problem with what the command had written, without holding that.
func writeCutShort(w *front.ResponseWriter, p *problem.Problem, stdout, stderr *spool) error {
	head := mustMarshal(p.Problem)
	h := w.Header()
	for name, values := range p.GetHeaders() {
		h[name] = values
	}
	h.Set("Content-Type", problem.ContentType)
	w.WriteHeader(p.Status)
	buffered := bufio.NewWriterSize(w, encodeChunk)
	_, err := buffered.Write(append(head[:len(head)-len("}")], `,"output":`...))
	err = cmp.Or(err, writeOutput(buffered, "", stdout, stderr))
	_, endErr := io.WriteString(buffered, "}\n")
	return cmp.Or(err, endErr, buffered.Flush())
}

const encodeChunk = 32 << 10

func writeBase64(w io.Writer, r io.Reader) error {
	encoder := base64.NewEncoder(base64.StdEncoding, w)
	if _, err := io.CopyBuffer(encoder, onlyReader{r}, make([]byte, encodeChunk)); err != nil {
		return err
	}
	return encoder.Close()
}

type onlyReader struct{ io.Reader }

// writeText writes text as the inside of a JSON string.
func writeText(w io.Writer, r io.Reader) error {
	var encoded bytes.Buffer
	encoder := json.NewEncoder(&encoded)
	encoder.SetEscapeHTML(false)
	buf := make([]byte, encodeChunk)
	rest := 0 // bytes of a rune at buf's start
	for {
		n, err := io.ReadFull(r, buf[rest:])
		n += rest
		rest = cutRune(buf[:n])
		encoded.Reset()
		if encodeErr := encoder.Encode(string(buf[:n-rest])); encodeErr != nil {
			return encodeErr
		}
		inside := encoded.Bytes()[1 : encoded.Len()-len("\"\n")]
		if _, writeErr := w.Write(inside); writeErr != nil {
			return writeErr
		}
		copy(buf, buf[n-rest:n])
		switch err {
		case nil:
		case io.EOF, io.ErrUnexpectedEOF:
			return nil
		default:
			return err
		}
	}
}
