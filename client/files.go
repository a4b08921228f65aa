package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// Paths in a session are absolute and any bytes but NUL. A user is "name", "uid", "name:group" or
// "uid:gid", empty for the session's own, and its permissions count. A session that does not run
// has no users to ask: what works there works as root.

const (
	octets  = "application/octet-stream"
	tarType = "application/x-tar"
)

func filePath(id string, more ...string) []string {
	return append([]string{"v1", "sessions", id, "files"}, more...)
}

func fileQuery(path, user string) url.Values {
	q := url.Values{"path": {path}}
	setString(q, "user", user)
	return q
}

func setMode(q url.Values, mode uint32) {
	if mode != 0 {
		q.Set("mode", strconv.FormatUint(uint64(mode), 8))
	}
}

// StatFileOptions say how to look at a path.
type StatFileOptions struct {
	User   string
	Follow bool // tell of a link's target instead of the link
}

// StatFile tells what a path is.
func (c *Client) StatFile(ctx context.Context, id, path string, opts StatFileOptions) (v1.FileInfo, error) {
	var info v1.FileInfo
	q := fileQuery(path, opts.User)
	setBool(q, "follow", opts.Follow)
	err := c.call(ctx, request{method: http.MethodGet, path: filePath(id, "stat"), query: q}, &info)
	return info, err
}

// ListFiles tells what is in a directory, ordered by name.
func (c *Client) ListFiles(ctx context.Context, id, path, user string) ([]v1.FileInfo, error) {
	var list v1.FileList
	err := c.call(ctx, request{method: http.MethodGet, path: filePath(id, "list"), query: fileQuery(path, user)}, &list)
	slices.SortFunc(list.Entries, func(a, b v1.FileInfo) int {
		return strings.Compare(v1.TextOf(a.Name, a.RawName), v1.TextOf(b.Name, b.RawName))
	})
	return list.Entries, err
}

// ReadFileOptions say what to read. The zero value is all of a file.
type ReadFileOptions struct {
	User   string
	Offset int64
	Length int64 // 0: to the end
}

// ReadFile opens a regular file for reading, and gives its ETag. The caller closes it; ctx bounds
// the reading too. An end that comes too early is an error.
func (c *Client) ReadFile(
	ctx context.Context, id, path string, opts ReadFileOptions,
) (content io.ReadCloser, etag string, err error) {
	r := request{method: http.MethodGet, path: filePath(id), query: fileQuery(path, opts.User), accept: "*/*",
		header: http.Header{}}
	switch {
	case opts.Offset < 0 || opts.Length < 0:
		return nil, "", fmt.Errorf("octobot client: offset %d and length %d are not both 0 or more", opts.Offset,
			opts.Length)
	case opts.Length > 0:
		r.header.Set("Range", fmt.Sprintf("bytes=%d-%d", opts.Offset, opts.Offset+opts.Length-1))
	case opts.Offset > 0:
		r.header.Set("Range", fmt.Sprintf("bytes=%d-", opts.Offset))
	}
	return c.content(ctx, r)
}

// content does a request whose answer is read as it comes.
func (c *Client) content(ctx context.Context, r request) (body io.ReadCloser, etag string, err error) {
	resp, err := c.send(ctx, r)
	if err != nil {
		return nil, "", err
	}
	failed := func(err error) error { return c.failed(ctx, r, err) }
	return &content{ReadCloser: resp.Body, failed: failed}, resp.Header.Get("ETag"), nil
}

// content is an answer's body with errors that say what they are about.
type content struct {
	io.ReadCloser
	failed func(error) error
}

func (c *content) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		err = c.failed(err)
	}
	return n, err
}

// WriteFileOptions say how to write. The zero value keeps the mode of a file that is there, and
// makes others 0644.
type WriteFileOptions struct {
	User    string
	Mode    uint32
	Owner   string // takes root
	Parents bool   // make missing directories
	Sync    bool   // on the disk when WriteFile returns
	New     bool   // there must be no such file: [v1.CodePathExists]
	// ETag: the file must have it still, else [v1.CodePathChanged]; "*" for any that is there.
	ETag string
	Size int64 // how many bytes come, where that is known; 0: not
}

// WriteFile gives a file the content of from, all of it or nothing. A Read that blocks when the
// server has refused is abandoned.
func (c *Client) WriteFile(
	ctx context.Context, id, path string, from io.Reader, opts WriteFileOptions,
) (v1.FileInfo, error) {
	var info v1.FileInfo
	q := fileQuery(path, opts.User)
	setMode(q, opts.Mode)
	setString(q, "owner", opts.Owner)
	setBool(q, "parents", opts.Parents)
	setBool(q, "sync", opts.Sync)
	r := request{method: http.MethodPut, path: filePath(id), query: q, raw: from, rawType: octets, size: opts.Size,
		header: http.Header{}}
	if opts.New {
		r.header.Set("If-None-Match", "*")
	}
	if opts.ETag != "" {
		r.header.Set("If-Match", opts.ETag)
	}
	err := c.call(ctx, r, &info)
	return info, err
}

// MakeDirectoryOptions say how to make a directory.
type MakeDirectoryOptions struct {
	User    string
	Mode    uint32 // 0: 0755
	Parents bool   // make those above too, and take one that is there
}

// MakeDirectory makes a directory.
func (c *Client) MakeDirectory(
	ctx context.Context, id, path string, opts MakeDirectoryOptions,
) (v1.FileInfo, error) {
	var info v1.FileInfo
	q := fileQuery(path, opts.User)
	setMode(q, opts.Mode)
	setBool(q, "parents", opts.Parents)
	err := c.call(ctx, request{method: http.MethodPost, path: filePath(id, "mkdir"), query: q}, &info)
	return info, err
}

// MoveFileOptions say how to move.
type MoveFileOptions struct {
	User      string
	Overwrite bool // replace a file, or an empty directory
}

// MoveFile gives what is at from the path to, within one file system.
func (c *Client) MoveFile(ctx context.Context, id, from, to string, opts MoveFileOptions) error {
	q := url.Values{"from": {from}, "to": {to}}
	setString(q, "user", opts.User)
	setBool(q, "overwrite", opts.Overwrite)
	return c.call(ctx, request{method: http.MethodPost, path: filePath(id, "move"), query: q}, nil)
}

// RemoveFileOptions say what to remove.
type RemoveFileOptions struct {
	User      string
	Recursive bool // a directory with all below it
}

// RemoveFile removes a file, a link, or a directory.
func (c *Client) RemoveFile(ctx context.Context, id, path string, opts RemoveFileOptions) error {
	q := fileQuery(path, opts.User)
	setBool(q, "recursive", opts.Recursive)
	return c.call(ctx, request{method: http.MethodDelete, path: filePath(id), query: q}, nil)
}

// ChangeFile changes mode and owner, as the user.
func (c *Client) ChangeFile(
	ctx context.Context, id, path, user string, change v1.ChangeFileRequest,
) (v1.FileInfo, error) {
	var info v1.FileInfo
	err := c.call(ctx, request{method: http.MethodPatch, path: filePath(id), query: fileQuery(path, user),
		body: change},
		&info)
	return info, err
}

// SearchFilesOptions say what to look for: files whose name matches Name, or all, and in them lines
// that match Content, where that is given.
type SearchFilesOptions struct {
	User       string
	Name       string // a glob: *.go
	Content    string // text, or with Regexp a regular expression
	Regexp     bool
	IgnoreCase bool
	Limit      int // matches at most; 0: 1000
}

// SearchFiles looks for files below a directory.
func (c *Client) SearchFiles(
	ctx context.Context, id, dir string, opts SearchFilesOptions,
) (v1.FileMatchList, error) {
	var list v1.FileMatchList
	q := fileQuery(dir, opts.User)
	setString(q, "name", opts.Name)
	setString(q, "content", opts.Content)
	setBool(q, "regexp", opts.Regexp)
	setBool(q, "ignore_case", opts.IgnoreCase)
	if opts.Limit != 0 {
		q.Set("limit", strconv.Itoa(opts.Limit))
	}
	err := c.call(ctx, request{method: http.MethodGet, path: filePath(id, "search"), query: q}, &list)
	return list, err
}

// WatchFilesOptions say what to watch.
type WatchFilesOptions struct {
	User      string
	Recursive bool // with directories below
}

// WatchFiles gives what happens at a path, until ctx ends or the loop is left. The first event is
// v1.FileWatching. An error is the last thing it gives.
func (c *Client) WatchFiles(
	ctx context.Context, id, path string, opts WatchFilesOptions,
) iter.Seq2[v1.FileEvent, error] {
	return func(yield func(v1.FileEvent, error) bool) {
		q := fileQuery(path, opts.User)
		setBool(q, "recursive", opts.Recursive)
		r := request{method: http.MethodGet, path: filePath(id, "watch"), query: q, accept: eventStream}
		for event, err := range c.stream(ctx, r) {
			var e v1.FileEvent
			if err == nil {
				if err = json.Unmarshal(event.data, &e); err != nil {
					err = c.failed(ctx, r, fmt.Errorf("event %s: %w", event.name, inWords(err)))
				}
			}
			if !yield(e, err) || err != nil {
				return
			}
		}
	}
}

// UnpackFilesOptions say how to unpack.
type UnpackFilesOptions struct {
	User   string
	Owners bool // the archive's owners and special modes; takes root
}

// UnpackFiles unpacks a tar archive into a directory of a session, which need not run. A Read that
// blocks when the server has refused is abandoned.
func (c *Client) UnpackFiles(
	ctx context.Context, id, dir string, archive io.Reader, opts UnpackFilesOptions,
) error {
	q := fileQuery(dir, opts.User)
	setBool(q, "owners", opts.Owners)
	return c.call(ctx, request{method: http.MethodPut, path: []string{"v1", "sessions", id, "archive"}, query: q,
		raw: archive, rawType: tarType}, nil)
}

// PackFiles gives a path of a session, which need not run, as a tar archive. Its names start with
// the path's last element, or with "." where the path ends in "/.". The caller closes it; an end
// that comes too early is an error.
//
// The archive is what somebody in the session made of it: unpack with care.
func (c *Client) PackFiles(ctx context.Context, id, path, user string) (io.ReadCloser, error) {
	body, _, err := c.content(ctx, request{method: http.MethodGet, path: []string{"v1", "sessions", id, "archive"},
		query: fileQuery(path, user), accept: "*/*"})
	return body, err
}
