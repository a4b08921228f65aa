package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
	"github.com/octobot-run/octobot/internal/session"
)

// contentChunk is how much of a file or an archive is sent at once.
const contentChunk = 128 << 10

// binary describes a body of any bytes.
func binary(contentType string) map[string]*huma.MediaType {
	return map[string]*huma.MediaType{contentType: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
}

// upload registers a stream whose body is read as it comes.
func upload[I any](
	a *API, op huma.Operation, handle func(w *front.ResponseWriter, r *http.Request, in *I) error,
) {
	a.uploads[op.Method+" "+op.Path] = true
	stream(a, front.Work, op, handle)
}

// Uploads implements [front.Uploader].
func (a *API) Uploads(r *http.Request) bool {
	if r.Method != http.MethodPut {
		return false
	}
	_, pattern := a.mux.Handler(r)
	return a.uploads[pattern]
}

func (a *API) contentRoutes(tags []string) {
	problems := &huma.Response{Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}
	etag := map[string]*huma.Param{"ETag": {Schema: &huma.Schema{Type: huma.TypeString}}}
	stream(a, front.Work, huma.Operation{
		OperationID: "read-file", Method: http.MethodGet, Path: filesPath, Tags: tags, Summary: "Read a file",
		Description: "Regular files only. HEAD gives the headers alone. Range asks for one range; several are answered with all of the file. " +
			"If-None-Match, If-Match and If-Range go by the ETag. An answer that is broken off was not all." + asRoot,
		Responses: map[string]*huma.Response{
			"200":     {Description: "The content", Content: binary(octets), Headers: etag},
			"206":     {Description: "The range", Content: binary(octets), Headers: etag},
			"304":     {Description: "It still has the ETag of If-None-Match"},
			"default": problems},
	}, a.readFile)
	upload(a, huma.Operation{
		OperationID: "write-file", Method: http.MethodPut, Path: filesPath, Tags: tags, Summary: "Write a file",
		Description: "The body, of any size, becomes the file's content at once when all of it has arrived; until then, and if it does not, the old one " +
			"stays. If-Match: the file must have that ETag, or with * be there. If-None-Match: * makes a new file only." + asRoot +
			" There, conditions are checked before the write, and a file is at most 1 GiB.",
		RequestBody: &huma.RequestBody{Required: true, Content: binary(octets)},
		Responses: map[string]*huma.Response{
			"200": {Description: "Written", Content: body[v1.FileInfo](a, "application/json"), Headers: etag},
			"201": {Description: "Made", Content: body[v1.FileInfo](a, "application/json"), Headers: etag},
			"412": {Description: "It has another ETag", Content: body[v1.Problem](a, problem.ContentType)},

			"default": problems},
	}, a.writeFile)
}

type readInput struct {
	FilePath
	Range       string `header:"Range" doc:"bytes=0-99"`
	IfRange     string `header:"If-Range"`
	IfMatch     string `header:"If-Match"`
	IfNoneMatch string `header:"If-None-Match"`
}

func (a *API) readFile(w *front.ResponseWriter, r *http.Request, in *readInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	f := &fileReader{ctx: ctx, open: func(opts container.ReadFileOptions) (*container.FileInfo, io.ReadCloser, error) {
		opts.User = in.User
		return a.service.ReadFile(ctx, front.PrincipalOf(ctx), in.ID, in.Path, opts)
	}}
	defer f.close()
	if err := f.begin(r.Method == http.MethodHead, func() (*container.FileInfo, error) {
		return a.service.StatFile(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
			container.StatFileOptions{User: in.User, Follow: true})
	}); err != nil {
		return problem.CauseOf(ctx, err)
	}
	defer w.Patient(ctx)()
	w.Streaming()
	h := w.Header()
	h.Set("Content-Type", octets)
	h.Set("Content-Disposition", disposition(in.Path))
	// No browser may take a session's file for a page of ours.
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	if etag := etagOf(f.info); etag != "" {
		h.Set("ETag", etag)
	}
	if strings.Contains(in.Range, ",") {
		r.Header.Del("Range") // each would be opened anew
	}
	if f.info.Size == 0 {
		return f.copyUnsized(w, r)
	}
	out := &problemWriter{ResponseWriter: w, size: f.info.Size}
	http.ServeContent(out, r, "", f.info.Modified, f)
	switch {
	case out.refused != nil:
		return out.refused
	case f.err != nil:
		panic(http.ErrAbortHandler) // the one way to say that it is not all
	}
	return nil
}

// fileReader is a file as http.ServeContent wants it. It is read from where it is open, and opened
// anew for another place.
type fileReader struct {
	ctx  context.Context
	open func(container.ReadFileOptions) (*container.FileInfo, io.ReadCloser, error)

	info    *container.FileInfo // of when it was first opened
	content io.ReadCloser       // nil: it is not open
	at      int64               // of content
	want    int64               // the next byte that is wanted
	err     error               // why it was not read as far as it was wanted
}

// begin opens the file or, where nothing is to be read, only looks at it.
func (f *fileReader) begin(lookOnly bool, look func() (*container.FileInfo, error)) (err error) {
	if lookOnly {
		f.info, err = look()
		if err == nil && f.info.Type != container.FileRegular {
			err = problem.New(v1.CodePathNotFound, "the path is a %s, not a file", f.info.Type)
		}
		return err
	}
	f.info, f.content, err = f.open(container.ReadFileOptions{})
	return err
}

func (f *fileReader) close() {
	if f.content != nil {
		_ = f.content.Close() // it was only read
		f.content = nil
	}
}

func (f *fileReader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekEnd:
		offset += f.info.Size
	case io.SeekCurrent:
		offset += f.want
	}
	f.want = offset
	return offset, nil
}

func (f *fileReader) Read(b []byte) (int, error) {
	n, err := f.read(b)
	f.want += int64(n)
	f.at = f.want
	if errors.Is(err, io.EOF) && f.want < f.info.Size {
		err = io.ErrUnexpectedEOF // it has become shorter
	}
	if err != nil && !errors.Is(err, io.EOF) {
		f.err = err
	}
	return n, err
}

func (f *fileReader) read(b []byte) (int, error) {
	if f.content != nil && f.at == f.want {
		return f.content.Read(b)
	}
	f.close()
	info, content, err := f.open(container.ReadFileOptions{Offset: f.want})
	if err != nil {
		return 0, err
	}
	f.content, f.at = content, f.want
	if info.Version != f.info.Version || info.Size != f.info.Size {
		return 0, errFileChanged
	}
	return f.content.Read(b)
}

var errFileChanged = errors.New("the file was changed meanwhile")

// copyUnsized sends a file that has no size: it is empty, or one of the kernel's and its content is
// known when it is read.
func (f *fileReader) copyUnsized(w *front.ResponseWriter, r *http.Request) error {
	buf := make([]byte, contentChunk)
	if r.Method == http.MethodHead {
		buf = buf[:1] // it is only asked whether there is any
	}
	n, err := f.readFirst(buf)
	if err != nil {
		return problem.CauseOf(f.ctx, err)
	}
	if n == 0 || !f.wanted(w, r) {
		out := &problemWriter{ResponseWriter: w}
		http.ServeContent(out, r, "", f.info.Modified, strings.NewReader(""))
		if out.refused != nil {
			return out.refused
		}
		return nil
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(http.StatusOK)
		return nil
	}
	if _, err := w.Write(buf[:n]); err != nil {
		panic(http.ErrAbortHandler)
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, onlyReader{f.content}, buf); err != nil {
		panic(http.ErrAbortHandler)
	}
	return nil
}

// readFirst fills b as far as the file goes.
func (f *fileReader) readFirst(b []byte) (n int, err error) {
	for n < len(b) && err == nil {
		var more int
		more, err = f.read(b[n:])
		n += more
		f.at, f.want = f.at+int64(more), f.want+int64(more)
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return n, err
}

// wanted reports whether a request's conditions let it have the file.
func (f *fileReader) wanted(w http.ResponseWriter, r *http.Request) bool {
	conditions := &conditionWriter{header: w.Header().Clone()}
	http.ServeContent(conditions, r, "", f.info.Modified, strings.NewReader(""))
	return conditions.status == http.StatusOK
}

// conditionWriter keeps of an answer only its status.
type conditionWriter struct {
	header http.Header
	status int
}

func (c *conditionWriter) Header() http.Header         { return c.header }
func (c *conditionWriter) WriteHeader(status int)      { c.status = status }
func (c *conditionWriter) Write(b []byte) (int, error) { return len(b), nil }

// problemWriter has http.ServeContent refuse in our form.
type problemWriter struct {
	*front.ResponseWriter
	size    int64
	refused *problem.Problem
}

func (p *problemWriter) WriteHeader(status int) {
	h := p.Header()
	switch status {
	case http.StatusRequestedRangeNotSatisfiable:
		p.refused = problem.New(v1.CodeRangeNotSatisfiable, "the file has %d bytes, and none in that range", p.size).
			WithHeader("Content-Range", fmt.Sprintf("bytes */%d", p.size))
	case http.StatusPreconditionFailed:
		p.refused = problem.New(v1.CodePathChanged, "the file does not have that ETag").
			WithHint("read it again, and decide what to do about the change")
	default:
		p.ResponseWriter.WriteHeader(status)
		return
	}
	for _, name := range []string{"Content-Disposition", "Content-Length", "Accept-Ranges", "Last-Modified"} {
		h.Del(name)
	}
}

func (p *problemWriter) Write(b []byte) (int, error) {
	if p.refused != nil {
		return len(b), nil // ServeContent's own words
	}
	return p.ResponseWriter.Write(b)
}

// ReadFrom is for io.Copy, whose own pieces are small.
func (p *problemWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.CopyBuffer(struct{ io.Writer }{p}, onlyReader{r}, make([]byte, contentChunk))
}

// disposition has a browser save the file, under its name in the most careful of spellings.
func disposition(path string) string {
	name := path[strings.LastIndexByte(path, '/')+1:]
	var b strings.Builder
	b.WriteString("attachment; filename*=UTF-8''")
	for _, c := range []byte(strings.ToValidUTF8(name, "_")) {
		if c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-' || c == '_' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

type writeInput struct {
	FilePath
	Mode        string `query:"mode" doc:"Octal. Absent: that of the file that is there, or 0644."`
	Owner       string `query:"owner" doc:"Whose it is to be. Absent: the user's; where root writes, it stays whose it was."`
	Parents     bool   `query:"parents" doc:"Make missing directories."`
	Sync        bool   `query:"sync" doc:"Have it on the disk before it takes its place."`
	IfMatch     string `header:"If-Match" doc:"An ETag, or *."`
	IfNoneMatch string `header:"If-None-Match" doc:"*"`
}

// conditions reads the headers that say what must be there.
func (in *writeInput) conditions() (opts container.WriteFileOptions, err error) {
	switch in.IfNoneMatch {
	case "":
	case "*":
		opts.New = true
	default:
		return opts, problem.New(v1.CodeInvalidArgument, "If-None-Match: is not *, which is all that a write takes")
	}
	version, quoted := strings.CutPrefix(in.IfMatch, `"`)
	version, ended := strings.CutSuffix(version, `"`)
	switch {
	case in.IfMatch == "", in.IfMatch == "*":
		opts.Version = in.IfMatch
	case !quoted || !ended || version == "" || version == "*" || strings.ContainsAny(version, `",`):
		return opts, problem.New(v1.CodeInvalidArgument, "If-Match: is neither one ETag, such as a read gives, nor *")
	default:
		opts.Version = version
	}
	return opts, nil
}

func (a *API) writeFile(w *front.ResponseWriter, r *http.Request, in *writeInput) error {
	opts, err := in.conditions()
	if err != nil {
		return err
	}
	if opts.Mode, err = parseMode(in.Mode); err != nil {
		return err
	}
	opts.User, opts.Owner, opts.Parents, opts.Sync = in.User, in.Owner, in.Parents, in.Sync
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	who, made := front.PrincipalOf(ctx), opts.New
	if !made && opts.Version == "" { // the answer says whether it is new
		_, err := a.service.StatFile(ctx, who, in.ID, in.Path, container.StatFileOptions{User: in.User, Follow: true})
		made = session.CodeOf(err) == session.CodePathNotFound
	}
	info, err := a.service.WriteFile(ctx, who, in.ID, in.Path, requestBody{r.Body}, opts)
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	if etag := etagOf(info); etag != "" {
		w.Header().Set("ETag", etag)
	}
	status := http.StatusOK
	if made {
		status = http.StatusCreated
	}
	writeJSON(w, status, fromFileInfo(info))
	return nil
}

// requestBody says of what goes wrong with a body that it is the client's doing.
type requestBody struct{ io.Reader }

func (b requestBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = &session.Error{Code: session.CodeCancelled, Detail: "the body did not arrive as a whole"}
	}
	return n, err
}
