package httpapi_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/httpapi"
	"github.com/octobot-run/octobot/internal/session"
)

// played is a service with files that are not an engine's: content that a test makes up.
type played struct {
	httpapi.Service
	mu    sync.Mutex
	files map[string]*playedFile
	// write, where set, takes what is written.
	write func(ctx context.Context, r io.Reader) (int64, error)
}

type playedFile struct {
	size    int64 // that it says it has
	data    string
	version string
	opened  []container.ReadFileOptions
	changes bool // with each opening
}

func (p *played) info(path string, f *playedFile) *container.FileInfo {
	if f.changes {
		f.version = strconv.Itoa(len(f.opened))
	}
	return &container.FileInfo{Name: path[1:], Type: container.FileRegular, Mode: 0o644, Size: f.size,
		Modified: time.Unix(1e9, 0), Version: f.version}
}

func (p *played) StatFile(
	_ context.Context, _ session.Principal, _, path string, _ container.StatFileOptions,
) (*container.FileInfo, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if f := p.files[path]; f != nil {
		return p.info(path, f), nil
	}
	return nil, &session.Error{Code: session.CodePathNotFound, Op: "stat", Detail: "path not found"}
}

func (p *played) ReadFile(
	_ context.Context, _ session.Principal, _, path string, opts container.ReadFileOptions,
) (*container.FileInfo, io.ReadCloser, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.files[path]
	if f == nil {
		return nil, nil, &session.Error{Code: session.CodePathNotFound, Op: "read", Detail: "path not found"}
	}
	f.opened = append(f.opened, opts)
	return p.info(path, f), io.NopCloser(strings.NewReader(f.data[min(int(opts.Offset), len(f.data)):])), nil
}

func (p *played) WriteFile(
	ctx context.Context, _ session.Principal, _, path string, r io.Reader, opts container.WriteFileOptions,
) (*container.FileInfo, error) {
	if opts.User == "nobody" {
		return nil, &session.Error{Code: session.CodePermissionDenied, Op: "write", Detail: "permission denied"}
	}
	n, err := p.write(ctx, r)
	return &container.FileInfo{Name: path[1:], Size: n, Mode: opts.Mode}, err
}

func (p *played) ListFiles(
	_ context.Context, _ session.Principal, _, path, _ string, each func(container.FileInfo) error,
) error {
	for i := range 1000 {
		if err := each(container.FileInfo{Name: fmt.Sprintf("%d\xff", i), Type: container.FileRegular}); err != nil {
			return err
		}
		if path == "/cut" && i == 999 {
			return errors.New("the agent is gone")
		}
	}
	return nil
}

func (p *played) SearchFiles(
	_ context.Context, _ session.Principal, _, dir string, opts container.SearchFilesOptions,
	each func(container.FileMatch) error,
) (string, error) {
	if opts.Content != "" {
		err := each(container.FileMatch{Path: dir + "/\xff", Type: container.FileRegular, Line: 7, Text: "a\xffb"})
		return `more than "1"`, err
	}
	return "", nil
}

func (p *played) WatchFiles(
	ctx context.Context, _ session.Principal, _, path string, _ container.WatchFilesOptions,
	each func(container.FileEvent) error,
) error {
	if path == "/none" {
		return &session.Error{Code: session.CodePathNotFound, Op: "watch", Detail: "path not found"}
	}
	for _, e := range []container.FileEvent{{Kind: container.FileWatching, Path: path},
		{Kind: container.FileMoved, Path: path + "/\xff", From: path + "/x"}, {Kind: container.FileOverflow}} {
		if err := each(e); err != nil {
			return err
		}
	}
	if path == "/removed" {
		return &session.Error{Code: session.CodePathNotFound, Op: "watch", Detail: "it was removed"}
	}
	<-ctx.Done()
	return &session.Error{Code: session.CodeCancelled, Op: "watch", Detail: "it was cancelled"}
}

func newPlayed(t *testing.T, cfg settings) (*fixture, *played) {
	t.Helper()
	p := &played{files: map[string]*playedFile{}}
	f := newFixtureOver(t, cfg, func(s *session.ContainerService) httpapi.Service {
		p.Service = s
		return p
	})
	f.running(t, "s", "p")
	return f, p
}

// TestFileAnswers: what a browser and a cache see of a file.
func TestFileAnswers(t *testing.T) {
	f, p := newPlayed(t, settings{})
	p.files["/a\"b\r\nX: y.html"] = &playedFile{size: 8, data: "<script>", version: "v1"}
	const url = "/v1/sessions/s/files?path=%2Fa%22b%0D%0AX%3A%20y.html"
	for _, method := range []string{"GET", "HEAD"} {
		resp := f.do(t, raw{method: method, path: url, trusted: true})
		h := resp.Header
		b, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != 200 || h.Get("Content-Type") != "application/octet-stream" || h.Get("ETag") != `"v1"` ||
			h.Get("X-Content-Type-Options") != "nosniff" || h.Get("Accept-Ranges") != "bytes" ||
			!strings.Contains(h.Get("Content-Security-Policy"), "sandbox") ||
			h.Get("Content-Disposition") != "attachment; filename*=UTF-8''a%22b%0D%0AX%3A%20y.html" ||
			h.Get("Last-Modified") != "Sun, 09 Sep 2001 01:46:40 GMT" || resp.ContentLength != 8 || h.Get("X") != "" {
			t.Errorf("%s: %s, %v", method, resp.Status, h)
		}
		if want := map[string]string{"GET": "<script>"}[method]; string(b) != want {
			t.Errorf("%s: %q", method, b)
		}
	}
	for _, c := range []struct {
		header map[string]string
		status int
		body   string
	}{
		{map[string]string{"Range": "bytes=0-1"}, 206, "<s"},
		{map[string]string{"Range": "bytes=-2"}, 206, "t>"},
		{map[string]string{"Range": "bytes=6-"}, 206, "t>"},
		{map[string]string{"Range": "bytes=6-100"}, 206, "t>"},
		{map[string]string{"Range": "bytes=0-1,3-4"}, 200, "<script>"},
		{map[string]string{"Range": "bytes=1-1", "If-Range": `"v1"`}, 206, "s"},
		{map[string]string{"Range": "bytes=1-1", "If-Range": `"v0"`}, 200, "<script>"},
		{map[string]string{"If-None-Match": `"v1"`}, 304, ""},
		{map[string]string{"If-None-Match": `"v0"`}, 200, "<script>"},
		{map[string]string{"If-Match": `"v1"`}, 200, "<script>"},
	} {
		resp := f.do(t, raw{method: "GET", path: url, trusted: true, header: c.header})
		b, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || string(b) != c.body {
			t.Errorf("%v: %s, %q, %v", c.header, resp.Status, b, err)
		}
	}
	// A whole file is opened once; a range once more, at its place.
	opened := p.files["/a\"b\r\nX: y.html"].opened
	if opened[0].Offset != 0 || opened[1].Offset != 0 || opened[2].Offset != 0 || opened[3].Offset != 6 {
		t.Errorf("opened %+v", opened)
	}
	resp := f.do(t, raw{method: "GET", path: url, trusted: true, header: map[string]string{"Range": "bytes=8-"}})
	if got := resp.Header.Get("Content-Range"); got != "bytes */8" {
		t.Errorf("Content-Range %q", got)
	}
	wantProblem(t, resp, v1.CodeRangeNotSatisfiable)
	wantProblem(t, f.do(t, raw{method: "GET", path: url, trusted: true,
		header: map[string]string{"If-Match": `"v0"`}}), v1.CodePathChanged)
	wantProblem(t, f.do(t, raw{method: "GET", path: "/v1/sessions/s/files?path=/none", trusted: true}),
		v1.CodePathNotFound)
	wantProblem(t, f.do(t, raw{method: "GET", path: "/v1/sessions/s/files", trusted: true}), v1.CodeInvalidArgument)
	wantProblem(t, f.do(t, raw{method: "GET", path: url + "&unknown=1", trusted: true}), v1.CodeInvalidArgument)
}

// TestOddFiles: those that have no size, or another one than they say.
func TestOddFiles(t *testing.T) {
	f, p := newPlayed(t, settings{})
	long := strings.Repeat("kernel", 100_000)
	for path, file := range map[string]*playedFile{
		"/empty": {version: "v"}, "/proc": {data: long, version: "v"}, "/grows": {size: 4, data: long},
		"/shrinks": {size: 1 << 20, data: long}, "/changes": {size: int64(len(long)), data: long, changes: true},
	} {
		p.files[path] = file
	}
	read := func(path string, opts client.ReadFileOptions) (string, error) {
		content, _, err := f.admin.ReadFile(t.Context(), "s", path, opts)
		if err != nil {
			return "", err
		}
		b, err := io.ReadAll(content)
		return string(b), errors.Join(err, content.Close())
	}
	for path, want := range map[string]string{"/empty": "", "/proc": long, "/grows": "kern"} {
		if got, err := read(path, client.ReadFileOptions{}); err != nil || got != want {
			t.Errorf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	if _, err := read("/shrinks", client.ReadFileOptions{}); err == nil {
		t.Error("a file that became shorter passed for whole")
	}
	if _, err := read("/changes", client.ReadFileOptions{Offset: 10}); err == nil {
		t.Error("a file that was replaced between two looks passed for one")
	}
	resp := f.do(t, raw{method: "GET", path: "/v1/sessions/s/files?path=/proc", trusted: true})
	if resp.ContentLength != -1 {
		t.Errorf("length %d", resp.ContentLength)
	}
	for path, length := range map[string]int64{"/empty": 0, "/proc": -1} {
		for _, method := range []string{"GET", "HEAD"} {
			for _, c := range []struct {
				name, value string
				status      int
			}{
				{"If-Match", `"v0"`, 412}, {"If-Match", `"v"`, 200}, {"If-None-Match", `"v"`, 304},
				{"If-None-Match", `"v0"`, 200}, {"Range", "bytes=0-9", 200},
			} {
				resp := f.do(t, raw{method: method, path: "/v1/sessions/s/files?path=" + path, trusted: true,
					header: map[string]string{c.name: c.value}})
				if resp.StatusCode != c.status || c.status == 200 && resp.ContentLength != length {
					t.Errorf("%s %s, %s %s: %s, length %d", method, path, c.name, c.value, resp.Status,
						resp.ContentLength)
				}
			}
		}
	}
}

// slow gives its content in small pieces, with a pause that is longer than a body may take.
type slow struct {
	pieces int
	pause  time.Duration
}

func (s *slow) Read(b []byte) (int, error) {
	if s.pieces == 0 {
		return 0, io.EOF
	}
	s.pieces--
	time.Sleep(s.pause) // this is what is tested
	return copy(b, make([]byte, 1<<10)), nil
}

// TestUploads: their bodies may be of any size and take any time; no others may.
func TestUploads(t *testing.T) {
	f, p := newPlayed(t, settings{front: front.Config{MaxBody: 1 << 10, BodyTimeout: 30 * time.Millisecond}})
	secret, c := f.token(t, "t", "p")
	p.write = func(_ context.Context, r io.Reader) (int64, error) { return io.Copy(io.Discard, r) }
	ctx := t.Context()
	for _, c := range []*client.Client{f.admin, c} {
		info, err := c.WriteFile(ctx, "s", "/x", &slow{8, 40 * time.Millisecond}, client.WriteFileOptions{Mode: 0o640})
		if err != nil || info.Size != 8<<10 || info.Mode != "0640" {
			t.Errorf("%+v, %v", info, err)
		}
	}
	// Two 64 MiB bodies at once, with little memory.
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			const size = 64 << 20
			info, err := c.WriteFile(ctx, "s", "/x", io.LimitReader(zeros{}, size), client.WriteFileOptions{Size: size})
			if err != nil || info.Size != size {
				t.Errorf("%+v, %v", info, err)
			}
		})
	}
	wg.Wait()
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 16<<20 {
		t.Errorf("%d bytes of memory were taken", grown)
	}
	// A refusal is heard, however much is still to come.
	for _, c := range []*client.Client{f.admin, c} {
		for range 10 {
			_, err := c.WriteFile(ctx, "s", "/x", io.LimitReader(zeros{}, 1<<34),
				client.WriteFileOptions{User: "nobody"})
			wantCode(t, err, v1.CodePermissionDenied)
		}
	}
	unknown := f.client(t, client.Options{URL: f.url, Token: "octo_" + strings.Repeat("A", 43)})
	for range 10 {
		_, err := unknown.WriteFile(ctx, "s", "/x", io.LimitReader(zeros{}, 1<<34), client.WriteFileOptions{})
		wantCode(t, err, v1.CodeUnauthenticated)
	}
	// And where nothing comes.
	stuck, release := io.Pipe()
	defer func() { _ = release.Close() }()
	_, err := c.WriteFile(ctx, "s", "/x", stuck, client.WriteFileOptions{User: "nobody"})
	wantCode(t, err, v1.CodePermissionDenied)

	for _, r := range []raw{{method: "PUT", path: "/v1/sessions/s/nothing"}, {method: "PUT", path: "/v1/projects/p"},
		{method: "POST", path: "/v1/sessions/s/files/mkdir?path=/x"}} {
		r.body, r.token = bytes.NewReader(make([]byte, 4<<10)), secret
		wantProblem(t, f.do(t, r), v1.CodeBodyTooLarge)
	}
	wantProblem(t, f.do(t, raw{method: "PUT", path: "/v1/sessions/s/files?path=/x&mode=99", trusted: true,
		body: strings.NewReader("x")}), v1.CodeInvalidArgument)
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// TestCutUpload: what did not arrive as a whole is nothing that a service takes for all.
func TestCutUpload(t *testing.T) {
	f, p := newPlayed(t, settings{})
	began, failed := make(chan struct{}), make(chan error, 1)
	p.write = func(_ context.Context, r io.Reader) (int64, error) {
		if _, err := io.ReadFull(r, make([]byte, 4)); err != nil {
			failed <- err
			return 0, err
		}
		began <- struct{}{}
		n, err := io.Copy(io.Discard, r)
		failed <- err
		return n, err
	}
	for name, head := range map[string]string{
		"announced": "Content-Length: 100\r\n\r\nsome", "chunked": "Transfer-Encoding: chunked\r\n\r\n4\r\nsome\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := new(net.Dialer).DialContext(t.Context(), "unix", f.socket)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			_, err = io.WriteString(conn, "PUT /v1/sessions/s/files?path=/x HTTP/1.1\r\nHost: x\r\n"+head)
			if err != nil {
				t.Fatal(err)
			}
			<-began
			if err := conn.Close(); err != nil {
				t.Fatal(err)
			}
			if err := <-failed; session.CodeOf(err) != session.CodeCancelled {
				t.Errorf("the service was told %v", err)
			}
		})
	}
}

// TestAbandonedUpload: a service that has given up a body which does not come is answered for.
func TestAbandonedUpload(t *testing.T) {
	f, p := newPlayed(t, settings{})
	reading := make(chan struct{})
	p.write = func(_ context.Context, r io.Reader) (int64, error) {
		go func() {
			_, _ = io.Copy(io.Discard, r)
			close(reading)
		}()
		return 0, &session.Error{Code: session.CodeNoSpace, Op: "write", Detail: "no space left"}
	}
	stuck, release := io.Pipe()
	defer func() { _ = release.Close() }()
	_, err := f.admin.WriteFile(t.Context(), "s", "/x", stuck, client.WriteFileOptions{})
	wantCode(t, err, v1.CodeNoSpace)
	<-reading
}

// TestSlowReader: who takes an answer slowly holds up nobody's memory, and gets all of it.
func TestSlowReader(t *testing.T) {
	f, p := newPlayed(t, settings{front: front.Config{WriteTimeout: 50 * time.Millisecond}})
	data := strings.Repeat("0123456789abcdef", 1<<20)
	p.files["/big"] = &playedFile{size: int64(len(data)), data: data, version: "v"}
	content, _, err := f.admin.ReadFile(t.Context(), "s", "/big", client.ReadFileOptions{})
	if err != nil {
		t.Fatal(err)
	}
	time.Sleep(200 * time.Millisecond) // longer than other answers may be left unread: this is what is tested
	b, err := io.ReadAll(content)
	if err := errors.Join(err, content.Close()); err != nil || string(b) != data {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

// TestWriteConditions are passed on as the seam wants them.
func TestWriteConditions(t *testing.T) {
	f := newFixture(t, settings{})
	f.running(t, "s", "p")
	ctx := t.Context()
	write := func(data string, opts client.WriteFileOptions) (v1.FileInfo, error) {
		return f.admin.WriteFile(ctx, "s", "/tmp/a", strings.NewReader(data), opts)
	}
	_, err := write("x", client.WriteFileOptions{ETag: "*"})
	wantCode(t, err, v1.CodePathChanged)
	first, err := write("first", client.WriteFileOptions{New: true})
	if err != nil || !strings.HasPrefix(first.ETag, `"`) {
		t.Fatal(first, err)
	}
	_, err = write("x", client.WriteFileOptions{New: true})
	wantCode(t, err, v1.CodePathExists)
	second, err := write("a second", client.WriteFileOptions{ETag: first.ETag})
	if err != nil || second.ETag == first.ETag {
		t.Fatal(second, err)
	}
	_, err = write("x", client.WriteFileOptions{ETag: first.ETag})
	wantCode(t, err, v1.CodePathChanged)
	content, etag, err := f.admin.ReadFile(ctx, "s", "/tmp/a", client.ReadFileOptions{})
	if err != nil || etag != second.ETag {
		t.Fatalf("ETag %s, %v, want %s", etag, err, second.ETag)
	}
	if b, err := io.ReadAll(content); err != nil || string(b) != "a second" {
		t.Errorf("read %q, %v", b, err)
	}
	_ = content.Close()
	for status, path := range map[int]string{200: "/tmp/a", 201: "/tmp/b"} {
		resp := f.do(t, raw{method: "PUT", path: "/v1/sessions/s/files?path=" + path, trusted: true,
			body: strings.NewReader("x")})
		if resp.StatusCode != status || resp.Header.Get("ETag") == "" {
			t.Errorf("%s: %s, %v", path, resp.Status, resp.Header)
		}
	}
	for _, header := range []map[string]string{{"If-Match": "abc"}, {"If-Match": `W/"abc"`}, {"If-Match": `"a", "b"`},
		{"If-None-Match": `"abc"`}, {"If-None-Match": "*", "If-Match": "*"}} {
		wantProblem(t, f.do(t, raw{method: "PUT", path: "/v1/sessions/s/files?path=/tmp/a", trusted: true,
			header: header, body: strings.NewReader("x")}), v1.CodeInvalidArgument)
	}
}

func TestFileLists(t *testing.T) {
	f, _ := newPlayed(t, settings{})
	ctx := t.Context()
	list, err := f.admin.ListFiles(ctx, "s", "/", "")
	if err != nil || len(list) != 1000 || v1.TextOf(list[0].Name, list[0].RawName) != "0\xff" {
		t.Errorf("%d entries, %v", len(list), err)
	}
	if _, err := f.admin.ListFiles(ctx, "s", "/cut", ""); err == nil {
		t.Error("a list that was cut off passed for whole")
	}
	found, err := f.admin.SearchFiles(ctx, "s", "/d", client.SearchFilesOptions{Content: "a"})
	if err != nil || len(found.Matches) != 1 || found.Matches[0].Line != 7 || found.Incomplete != `more than "1"` ||
		v1.TextOf(found.Matches[0].Path, found.Matches[0].RawPath) != "/d/\xff" || found.Matches[0].Text != "a\uFFFDb" {
		t.Errorf("%+v, %v", found, err)
	}
	found, err = f.admin.SearchFiles(ctx, "s", "/d", client.SearchFilesOptions{Name: "a"})
	if err != nil || found.Matches == nil || len(found.Matches) != 0 || found.Incomplete != "" {
		t.Errorf("%+v, %v", found, err)
	}
}

func TestWatchFiles(t *testing.T) {
	f, _ := newPlayed(t, settings{})
	var kinds []string
	for e, err := range f.admin.WatchFiles(t.Context(), "s", "/d", client.WatchFilesOptions{Recursive: true}) {
		if err != nil {
			t.Fatal(err)
		}
		if e.Kind == v1.FileMoved && (v1.TextOf(e.Path, e.RawPath) != "/d/\xff" || e.From != "/d/x") {
			t.Errorf("%+v", e)
		}
		if kinds = append(kinds, e.Kind); len(kinds) == 3 {
			break
		}
	}
	if want := []string{v1.FileWatching, v1.FileMoved, v1.FileOverflow}; !slices.Equal(kinds, want) {
		t.Errorf("%q", kinds)
	}
	for path, events := range map[string]int{"/none": 0, "/removed": 3} {
		n := 0
		for _, err := range f.admin.WatchFiles(t.Context(), "s", path, client.WatchFilesOptions{}) {
			if err != nil {
				if client.CodeOf(err) != v1.CodePathNotFound {
					t.Errorf("%s: %v", path, err)
				}
				break
			}
			n++
		}
		if n != events {
			t.Errorf("%s: %d events", path, n)
		}
	}
}

// TestArchives also shows that a session that does not run can be copied from and to, and looked
// at.
func TestArchives(t *testing.T) {
	f := newFixture(t, settings{front: front.Config{MaxBody: 1 << 10}})
	start, ctx := false, t.Context()
	if _, err := f.admin.CreateSession(ctx, v1.CreateSessionRequest{ID: "s", Start: &start}, nil); err != nil {
		t.Fatal(err)
	}
	archive, err := f.admin.PackFiles(ctx, "s", "/etc/.", "")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.admin.UnpackFiles(ctx, "s", "/tmp", archive, client.UnpackFilesOptions{}),
		archive.Close()); err != nil {
		t.Fatal(err)
	}
	info, err := f.admin.StatFile(ctx, "s", "/tmp/passwd", client.StatFileOptions{})
	if err != nil || info.Type != v1.FileRegular || info.Size == 0 || info.Name != "passwd" {
		t.Errorf("%+v, %v", info, err)
	}
	archive, err = f.admin.PackFiles(ctx, "s", "/tmp/passwd", "")
	if err != nil {
		t.Fatal(err)
	}
	h, err := tar.NewReader(archive).Next()
	if err := errors.Join(err, archive.Close()); err != nil || h.Name != "passwd" {
		t.Errorf("%+v, %v", h, err)
	}
	_, err = f.admin.PackFiles(ctx, "s", "/none", "")
	wantCode(t, err, v1.CodePathNotFound)
	for dir, c := range map[string]struct {
		archive string
		code    v1.Code
	}{
		"/none": {string(make([]byte, 1024)), v1.CodePathNotFound}, "/tmp": {"", v1.CodeInvalidArgument},
	} {
		wantCode(t, f.admin.UnpackFiles(ctx, "s", dir, strings.NewReader(c.archive), client.UnpackFilesOptions{}),
			c.code)
	}
	_, err = f.admin.ChangeFile(ctx, "s", "/tmp", "", v1.ChangeFileRequest{Mode: "8"})
	wantCode(t, err, v1.CodeInvalidArgument)
	_, err = f.admin.ChangeFile(ctx, "s", "/tmp", "", v1.ChangeFileRequest{Mode: "0"})
	wantCode(t, err, v1.CodeSessionNotRunning)
	wantCode(t, f.admin.RemoveFile(ctx, "s", "/tmp", client.RemoveFileOptions{}), v1.CodeSessionNotRunning)
	wantCode(t, f.admin.MoveFile(ctx, "s", "/tmp", "/x", client.MoveFileOptions{}), v1.CodeSessionNotRunning)
	secret, _ := f.token(t, "t", "other")
	for token, want := range map[string]int{"": 401, secret: 404} {
		resp := f.do(t, raw{method: "HEAD", path: "/v1/sessions/s/files?path=/etc/passwd", token: token})
		if resp.StatusCode != want || resp.Header.Get("ETag") != "" {
			t.Errorf("HEAD of another's file: %s, %v", resp.Status, resp.Header)
		}
	}
	for _, path := range []string{"", "relative", "/a\x00"} {
		_, err := f.admin.StatFile(ctx, "s", path, client.StatFileOptions{})
		wantCode(t, err, v1.CodeInvalidArgument)
	}
}
