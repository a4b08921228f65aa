package files

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// Bounds of a search.
const (
	maxSearched = 1 << 20 // files and directories that are looked at
	searchTime  = time.Minute
	// maxLine is how much of a line is looked at as one.
	maxLine = 64 << 10
	// maxText is how much of a line is told.
	maxText = 512
	// textHead is what of a file is looked at to tell whether it is text.
	textHead = 8 << 10
	// overEvery is after how many files it is looked whether somebody still wants to know.
	overEvery = 256
)

func (v *service) search(c *call, r *agentproto.Search) error {
	s := &searcher{c: c, request: r, until: time.Now().Add(searchTime), lines: bufio.NewReaderSize(nil, maxLine)}
	if err := s.prepare(); err != nil {
		return agentproto.Errorf(agentproto.InvalidArgument, "%v", err)
	}
	err := c.asLong(func() error {
		fd, err := open(unix.AT_FDCWD, r.Path, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if err != nil {
			return err
		}
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			_ = unix.Close(fd)
			return err
		}
		return s.directory(fd, strings.TrimRight(r.Path, "/"), 0, st.Dev)
	})
	if err != nil && !errors.Is(err, errEnough) {
		return err
	}
	_ = c.s.Send(&agentproto.Searched{Incomplete: s.incomplete})
	return nil
}

// errEnough ends a search that has reached a bound.
var errEnough = errors.New("enough was searched")

type searcher struct {
	c       *call
	request *agentproto.Search
	until   time.Time
	name    string         // as the request's, in small letters where case is ignored
	text    []byte         // that a line must hold
	pattern *regexp.Regexp // or must match; nil with text
	lines   *bufio.Reader

	looked, found int
	incomplete    string
}

func (s *searcher) prepare() error {
	r := s.request
	if s.name = r.Name; r.IgnoreCase {
		s.name = strings.ToLower(s.name)
	}
	if _, err := path.Match(s.name, ""); err != nil {
		return err
	}
	if r.Content == "" || !r.Regexp && !r.IgnoreCase {
		s.text = []byte(r.Content)
		return nil
	}
	pattern := r.Content
	if !r.Regexp {
		pattern = regexp.QuoteMeta(pattern)
	}
	if r.IgnoreCase {
		pattern = "(?i)" + pattern
	}
	var err error
	s.pattern, err = regexp.Compile(pattern)
	return err
}

func (s *searcher) stop(format string, args ...any) error {
	s.incomplete = fmt.Sprintf(format, args...)
	return errEnough
}

// directory searches what fd leads to, which it closes. What the user may not look at, and what
// vanishes meanwhile, is passed over.
func (s *searcher) directory(fd int, p string, depth int, dev uint64) error {
	dir := os.NewFile(uintptr(fd), p)
	defer dir.Close()
	if depth >= maxDepth {
		s.incomplete = fmt.Sprintf("what is more than %d directories deep was not looked at", maxDepth)
		return nil
	}
	for {
		entries, err := dir.ReadDir(listStep)
		for _, e := range entries {
			if err := s.entry(fd, p+"/"+e.Name(), e, depth, dev); err != nil {
				return err
			}
		}
		if err != nil {
			return nil
		}
	}
}

func (s *searcher) entry(dir int, p string, e os.DirEntry, depth int, dev uint64) error {
	if s.looked++; s.looked > maxSearched {
		return s.stop("%d files were looked at, and there are more", maxSearched)
	}
	if s.looked%overEvery == 0 && s.c.over() {
		return errCancelled
	}
	if time.Now().After(s.until) {
		return s.stop("it took longer than %s", searchTime)
	}
	if err := s.look(dir, p, e); err != nil || !e.IsDir() {
		return err
	}
	fd, err := open(dir, e.Name(), unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil
	}
	var st unix.Stat_t
	var system unix.Statfs_t
	if unix.Fstat(fd, &st) != nil ||
		st.Dev != dev && unix.Fstatfs(fd, &system) == nil && unpackable[int64(system.Type)] {
		_ = unix.Close(fd)
		return nil
	}
	return s.directory(fd, p, depth+1, st.Dev)
}

// look tells of an entry where that matches.
func (s *searcher) look(dir int, p string, e os.DirEntry) error {
	name := e.Name()
	if s.request.IgnoreCase {
		name = strings.ToLower(name)
	}
	if matches, _ := path.Match(s.name, name); s.name != "" && !matches {
		return nil
	}
	if s.request.Content == "" {
		return s.tell(&agentproto.Match{Path: p, Type: typeOf(unixType(e.Type()))})
	}
	if !e.Type().IsRegular() {
		return nil
	}
	fd, st, err := openRegular(dir, e.Name(), unix.O_RDONLY|unix.O_NOFOLLOW)
	if err != nil {
		return nil
	}
	f := os.NewFile(uintptr(fd), p)
	defer f.Close()
	if st.Size > s.request.MaxSize {
		return nil
	}
	return s.content(f, p)
}

// unixType makes the kernel's word of a type.
func unixType(mode os.FileMode) uint32 {
	switch {
	case mode.IsRegular():
		return unix.S_IFREG
	case mode.IsDir():
		return unix.S_IFDIR
	case mode&os.ModeSymlink != 0:
		return unix.S_IFLNK
	case mode&os.ModeNamedPipe != 0:
		return unix.S_IFIFO
	case mode&os.ModeSocket != 0:
		return unix.S_IFSOCK
	case mode&os.ModeCharDevice != 0:
		return unix.S_IFCHR
	}
	return unix.S_IFBLK
}

func (s *searcher) tell(m *agentproto.Match) error {
	if s.found++; s.found > s.request.Limit {
		return s.stop("%d matches were found, and there are more", s.request.Limit)
	}
	if s.c.s.Send(m) != nil {
		return errCancelled
	}
	return nil
}

// content looks for lines that match. Of one that is longer than maxLine, pieces of that length
// are looked at.
func (s *searcher) content(r io.Reader, p string) error {
	s.lines.Reset(io.LimitReader(r, s.request.MaxSize))
	if head, _ := s.lines.Peek(textHead); bytes.IndexByte(head, 0) >= 0 {
		return nil
	}
	told := false // of this line
	for number := int64(1); ; {
		line, err := s.lines.ReadSlice('\n')
		if !told {
			if from, to, ok := s.match(bytes.TrimSuffix(line, []byte("\n"))); ok {
				told = true
				text := around(bytes.TrimRight(line, "\r\n"), from, to)
				if err := s.tell(&agentproto.Match{Path: p, Type: agentproto.TypeFile, Line: number,
					Text: text}); err != nil {
					return err
				}
			}
		}
		if err == nil {
			number++
			told = false
			continue
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil // its end, or one that can't be read further
		}
	}
}

func (s *searcher) match(line []byte) (from, to int, ok bool) {
	if s.pattern == nil {
		from = bytes.Index(line, s.text)
		return from, from + len(s.text), from >= 0
	}
	at := s.pattern.FindIndex(line)
	if at == nil {
		return 0, 0, false
	}
	return at[0], at[1], true
}

// around cuts a long line to what is around the match.
func around(line []byte, from, to int) string {
	if len(line) <= maxText {
		return string(line)
	}
	start := max(0, min(from, from-(maxText-(to-from))/2))
	end := min(len(line), start+maxText)
	return string(line[max(0, min(start, end-maxText)):end])
}
