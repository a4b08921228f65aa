package httpapi

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

const (
	filesPath = "/v1/sessions/{id}/files"
	octets    = "application/octet-stream"
	asUser    = " It is done as user, the session's own where none is named, and with that user's permissions. "
	// asRoot is of what works without an agent too.
	asRoot = asUser + "In a session that does not run or has no agent it is done as root; what is made is the user's."
	byUser = asUser + "The session has to run."
)

func (a *API) fileRoutes() {
	tags := []string{"Files"}
	a.contentRoutes(tags)
	route(a, huma.Operation{
		OperationID: "stat-file", Method: http.MethodGet, Path: filesPath + "/stat", Tags: tags,
		Summary: "Tell what a path is", Description: "Links are told of as such, unless follow is set." + asRoot,
	}, a.statFile)
	problems := &huma.Response{Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}
	stream(a, front.Work, huma.Operation{
		OperationID: "list-files", Method: http.MethodGet, Path: filesPath + "/list", Tags: tags,
		Summary:     "List a directory",
		Description: "In the directory's own order. An answer that is broken off was not all." + asRoot,
		Responses: map[string]*huma.Response{"200": {Description: "What is in it",
			Content: body[v1.FileList](a, "application/json")}, "default": problems},
	}, a.listFiles)
	stream(a, front.Work, huma.Operation{
		OperationID: "search-files", Method: http.MethodGet, Path: filesPath + "/search", Tags: tags,
		Summary: "Look for files below a directory, by name and by content",
		Description: "Links are not followed; what the user may not read is passed over, and so is what is not text, or larger than 16 MiB, " +
			"where content is looked for. An answer that is broken off was not all." + byUser,
		Responses: map[string]*huma.Response{"200": {Description: "What was found",
			Content: body[v1.FileMatchList](a, "application/json")}, "default": problems},
	}, a.searchFiles)
	a.watchRoute(tags)
	route(a, huma.Operation{
		OperationID: "make-directory", Method: http.MethodPost, Path: filesPath + "/mkdir", Tags: tags,
		Summary: "Make a directory", Description: strings.TrimSpace(asRoot),
	}, a.makeDirectory)
	route(a, huma.Operation{
		OperationID: "move-file", Method: http.MethodPost, Path: filesPath + "/move", Tags: tags,
		Summary:       "Give a file or a directory another path",
		Description:   "Within one file system. to is the new path itself, not a directory to move into." + byUser,
		DefaultStatus: http.StatusNoContent,
	}, a.moveFile)
	route(a, huma.Operation{
		OperationID: "remove-file", Method: http.MethodDelete, Path: filesPath, Tags: tags,
		Summary:       "Remove a file, a link or a directory",
		Description:   "A directory that is not empty takes recursive." + byUser,
		DefaultStatus: http.StatusNoContent,
	}, a.removeFile)
	route(a, huma.Operation{
		OperationID: "change-file", Method: http.MethodPatch, Path: filesPath, Tags: tags,
		Summary: "Change a file's mode and owner", Description: "Links are followed." + byUser,
	}, a.changeFile)
	a.archiveRoutes(tags)
}

// FilePath is what most routes about a file are asked with. Its name is exported for huma, which
// passes over others.
type FilePath struct {
	ID   string `path:"id"`
	Path string `query:"path" required:"true" doc:"Absolute; any bytes but NUL, percent-encoded."`
	User string `query:"user" doc:"name, uid, name:group or uid:gid; absent: the session's own."`
}

func fromFileInfo(i *container.FileInfo) v1.FileInfo {
	info := v1.FileInfo{
		Type: i.Type, Mode: fmt.Sprintf("%04o", i.Mode), UID: i.UID, GID: i.GID, Owner: i.Owner, Group: i.Group,
		Size: i.Size, Modified: i.Modified.UTC(), ETag: etagOf(i),
	}
	info.Name, info.RawName = v1.RawText(i.Name)
	info.Target, info.RawTarget = v1.RawText(i.Target)
	return info
}

// etagOf gives a file's strong ETag; empty where its version is not known.
func etagOf(i *container.FileInfo) string {
	if i.Version == "" {
		return ""
	}
	return `"` + i.Version + `"`
}

// parseMode reads permissions of what is made: 0 where there are none.
func parseMode(s string) (uint32, error) {
	if s == "" {
		return 0, nil
	}
	mode, err := strconv.ParseUint(s, 8, 32)
	if err != nil || mode > 0o7777 || mode == 0 {
		return 0, problem.New(v1.CodeInvalidArgument, "mode: %.64q is not an octal number between 1 and 7777", s)
	}
	return uint32(mode), nil
}

type fileInfoBody struct{ Body v1.FileInfo }

func fileAnswer(info *container.FileInfo, err error) (*fileInfoBody, error) {
	if err != nil {
		return nil, err
	}
	return &fileInfoBody{fromFileInfo(info)}, nil
}

type statInput struct {
	FilePath
	Follow bool `query:"follow" doc:"Tell of a link's target instead of the link."`
}

func (a *API) statFile(ctx context.Context, in *statInput) (*fileInfoBody, error) {
	return fileAnswer(a.service.StatFile(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
		container.StatFileOptions{User: in.User, Follow: in.Follow}))
}

// listWriter writes a JSON object with a list, an entry at a time. Nothing is sent before the
// first.
type listWriter struct {
	w       *front.ResponseWriter
	out     *bufio.Writer
	name    string
	entries int
}

func newListWriter(w *front.ResponseWriter, name string) *listWriter {
	return &listWriter{w: w, out: bufio.NewWriterSize(w, encodeChunk), name: name}
}

// begin is called once, before the first entry or the end.
func (l *listWriter) begin() {
	l.w.Streaming()
	l.w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(l.out, `{%q:[`, l.name) // out keeps its error
}

func (l *listWriter) add(entry any) error {
	if l.entries == 0 {
		l.begin()
	} else {
		_ = l.out.WriteByte(',') // out keeps its error
	}
	l.entries++
	_, err := l.out.Write(mustMarshal(entry))
	return err
}

// finish ends the answer: with err, with what is to follow the list. An error is returned where
// nothing was sent.
func (l *listWriter) finish(err error, rest string) error {
	if err != nil {
		if l.w.Status() == 0 {
			return err
		}
		panic(http.ErrAbortHandler) // JSON has no other way to say that it is not all
	}
	if l.entries == 0 {
		l.begin()
	}
	_, _ = l.out.WriteString("]" + rest + "}\n")
	_ = l.out.Flush() // a client that is gone misses it
	return nil
}

func (a *API) listFiles(w *front.ResponseWriter, r *http.Request, in *FilePath) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	list := newListWriter(w, "entries")
	err := a.service.ListFiles(ctx, front.PrincipalOf(ctx), in.ID, in.Path, in.User,
		func(i container.FileInfo) error { return list.add(fromFileInfo(&i)) })
	return list.finish(problem.CauseOf(ctx, err), "")
}

type searchInput struct {
	FilePath
	Name       string `query:"name" doc:"A glob of the file's name: *.go. Absent: any."`
	Content    string `query:"content" doc:"Text that a line of the file holds. Absent: files are found by their name alone."`
	Regexp     bool   `query:"regexp" doc:"content is a regular expression of Go's."`
	IgnoreCase bool   `query:"ignore_case" doc:"In name and content."`
	Limit      int    `query:"limit" minimum:"0" maximum:"10000" doc:"Matches at most; 0 or absent: 1000."`
}

func (a *API) searchFiles(w *front.ResponseWriter, r *http.Request, in *searchInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	list := newListWriter(w, "matches")
	incomplete, err := a.service.SearchFiles(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
		container.SearchFilesOptions{User: in.User, Name: in.Name, Content: in.Content, Regexp: in.Regexp,
			IgnoreCase: in.IgnoreCase, Limit: in.Limit},
		func(m container.FileMatch) error {
			match := v1.FileMatch{Type: m.Type, Line: m.Line, Text: strings.ToValidUTF8(m.Text, "\uFFFD")}
			match.Path, match.RawPath = v1.RawText(m.Path)
			return list.add(match)
		})
	rest := ""
	if incomplete != "" {
		rest = `,"incomplete":` + string(mustMarshal(incomplete))
	}
	return list.finish(problem.CauseOf(ctx, err), rest)
}

type makeDirectoryInput struct {
	FilePath
	Mode    string `query:"mode" doc:"Octal. Absent: 0755."`
	Parents bool   `query:"parents" doc:"Make those above too, and take one that is there."`
}

func (a *API) makeDirectory(ctx context.Context, in *makeDirectoryInput) (*fileInfoBody, error) {
	mode, err := parseMode(in.Mode)
	if err != nil {
		return nil, err
	}
	return fileAnswer(a.service.MakeDirectory(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
		container.MakeDirectoryOptions{User: in.User, Mode: mode, Parents: in.Parents}))
}

type moveInput struct {
	ID        string `path:"id"`
	From      string `query:"from" required:"true" doc:"Absolute."`
	To        string `query:"to" required:"true" doc:"Absolute."`
	Overwrite bool   `query:"overwrite" doc:"Replace a file, or an empty directory."`
	User      string `query:"user" doc:"name, uid, name:group or uid:gid; absent: the session's own."`
}

func (a *API) moveFile(ctx context.Context, in *moveInput) (*struct{}, error) {
	return nil, a.service.MoveFile(ctx, front.PrincipalOf(ctx), in.ID, in.From, in.To,
		container.MoveFileOptions{User: in.User, Overwrite: in.Overwrite})
}

type removeInput struct {
	FilePath
	Recursive bool `query:"recursive" doc:"A directory with all below it."`
}

func (a *API) removeFile(ctx context.Context, in *removeInput) (*struct{}, error) {
	return nil, a.service.RemoveFile(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
		container.RemoveFileOptions{User: in.User, Recursive: in.Recursive})
}

type changeInput struct {
	FilePath
	Body v1.ChangeFileRequest
}

func (a *API) changeFile(ctx context.Context, in *changeInput) (*fileInfoBody, error) {
	opts := container.ChangeFileOptions{User: in.User, Owner: in.Body.Owner, Recursive: in.Body.Recursive}
	if in.Body.Mode != "" {
		mode, err := strconv.ParseUint(in.Body.Mode, 8, 32)
		if err != nil || mode > 0o7777 {
			return nil, problem.New(v1.CodeInvalidArgument, "mode: %.64q is not an octal number of at most 7777",
				in.Body.Mode)
		}
		opts.Mode, opts.SetMode = uint32(mode), true
	}
	return fileAnswer(a.service.ChangeFile(ctx, front.PrincipalOf(ctx), in.ID, in.Path, opts))
}
