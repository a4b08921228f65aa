package mock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"syscall"

	"github.com/octobot-run/octobot/internal/container"
)

// maxText is how much of a line is told.
const maxText = 512

// SearchFiles implements [container.FileSearcher].
func (m *MockProvider) SearchFiles(
	ctx context.Context, sessionID, dir string, opts container.SearchFilesOptions, each func(container.FileMatch) error,
) (incomplete string, err error) {
	check := func() error {
		if err := container.ValidateFile(dir, opts.User, 0); err != nil {
			return err
		}
		return opts.Validate()
	}
	err = m.fileCall(ctx, "searchfiles", sessionID, opts.User, check, func(ctx context.Context, u fileUser) error {
		s := &searcher{ctx: ctx, u: u, opts: opts, each: each, name: opts.Name}
		s.prepare()
		err := s.directory(dir, strings.TrimRight(dir, "/"))
		if errors.Is(err, errEnough) {
			incomplete, err = fmt.Sprintf("%d matches were found, and there are more", opts.Limit), nil
		}
		return fileError(dir, err)
	})
	return incomplete, err
}

// errEnough ends a search that has found as much as it may.
var errEnough = errors.New("enough was found")

// searcher is one search.
type searcher struct {
	ctx     context.Context
	u       fileUser
	opts    container.SearchFilesOptions
	each    func(container.FileMatch) error
	name    string
	content *regexp.Regexp // nil where names alone are looked for
	found   int
}

// prepare makes patterns of the options, which are valid.
func (s *searcher) prepare() {
	pattern := s.opts.Content
	if !s.opts.Regexp {
		pattern = regexp.QuoteMeta(pattern)
	}
	if s.opts.IgnoreCase {
		s.name, pattern = strings.ToLower(s.name), "(?i)"+pattern
	}
	if s.opts.Content != "" {
		s.content = regexp.MustCompile(pattern)
	}
}

// directory looks at what is in dir, whose entries are told with the prefix.
func (s *searcher) directory(dir, prefix string) error {
	list, err := s.u.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range list {
		if err := s.ctx.Err(); err != nil {
			return err
		}
		p := prefix + "/" + f.Name
		name := f.Name
		if s.opts.IgnoreCase {
			name = strings.ToLower(name)
		}
		if matches, _ := path.Match(s.name, name); matches || s.name == "" {
			if err := s.look(p, fileTypes[f.Mode.Type()]); err != nil {
				return err
			}
		}
		if !f.Mode.IsDir() {
			continue
		}
		if err := s.directory(p, p); err != nil && !passedOver(err) {
			return err
		}
	}
	return nil
}

// passedOver tells of what the user may not read, or what is not there any more.
func passedOver(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// look looks at a file whose name matches.
func (s *searcher) look(p, kind string) error {
	if s.content == nil {
		return s.tell(container.FileMatch{Path: p, Type: kind})
	}
	if kind != container.FileRegular {
		return nil
	}
	r, f, err := s.u.Open(p)
	if err != nil || f.Size > s.opts.MaxSize {
		return nil // it is passed over
	}
	data, err := io.ReadAll(io.NewSectionReader(r, 0, s.opts.MaxSize))
	if err != nil || bytes.IndexByte(data, 0) >= 0 {
		return err
	}
	number := int64(0)
	for line := range bytes.Lines(data) {
		number++
		line = bytes.TrimRight(line, "\r\n")
		at := s.content.FindIndex(line)
		if at == nil {
			continue
		}
		m := container.FileMatch{Path: p, Type: kind, Line: number, Text: around(line, at[0], at[1])}
		if err := s.tell(m); err != nil {
			return err
		}
	}
	return nil
}

// around cuts a line to what is around a match.
func around(line []byte, from, to int) string {
	if len(line) <= maxText {
		return string(line)
	}
	start := max(0, from-max(0, maxText-(to-from))/2)
	start = min(start, len(line)-maxText)
	return string(line[start : start+maxText])
}

func (s *searcher) tell(m container.FileMatch) error {
	if s.found++; s.found > s.opts.Limit {
		return errEnough
	}
	if err := s.ctx.Err(); err != nil {
		return err
	}
	return s.each(m)
}
