package httpapi

import (
	"bufio"
	"io"
	"net/http"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/front"
	"github.com/octobot-run/octobot/internal/problem"
)

const tarType = "application/x-tar"

func (a *API) archiveRoutes(tags []string) {
	problems := &huma.Response{Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}
	const path = "/v1/sessions/{id}/archive"
	stream(a, front.Work, huma.Operation{
		OperationID: "pack-files", Method: http.MethodGet, Path: path, Tags: tags,
		Summary: "Copy files out, as a tar archive",
		Description: "A path, with all below it where it is a directory. Names start with the path's last element, or with . where the path ends in /. — " +
			"links are packed as links; devices, FIFOs and sockets are left out. An answer that is broken off was not all." + asRoot,
		Responses: map[string]*huma.Response{"200": {Description: "The archive", Content: binary(tarType)},
			"default": problems},
	}, a.packFiles)
	upload(a, huma.Operation{
		OperationID: "unpack-files", Method: http.MethodPut, Path: path, Tags: tags,
		Summary: "Copy files in, as a tar archive",
		Description: "Unpacks the body, of any size, into the directory path, which exists. Directories are merged, files and links replaced. Nothing is " +
			"made outside it; devices, FIFOs and sockets are left out. What was unpacked before a failure stays." +
			asRoot,
		RequestBody:   &huma.RequestBody{Required: true, Content: binary(tarType)},
		DefaultStatus: http.StatusNoContent,
		Responses:     map[string]*huma.Response{"204": {Description: "Unpacked"}, "default": problems},
	}, a.unpackFiles)
}

func (a *API) packFiles(w *front.ResponseWriter, r *http.Request, in *FilePath) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	archive, err := a.service.PackFiles(ctx, front.PrincipalOf(ctx), in.ID, in.Path, in.User)
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	defer func() { _ = archive.Close() }() // it was only read
	from := bufio.NewReaderSize(archive, 4<<10)
	if _, err := from.Peek(1); err != nil { // while it can be answered still
		return problem.CauseOf(ctx, err)
	}
	defer w.Patient(ctx)()
	w.Streaming()
	h := w.Header()
	h.Set("Content-Type", tarType)
	h.Set("Content-Disposition", `attachment; filename="files.tar"`)
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{w}, onlyReader{from}, make([]byte, contentChunk)); err != nil {
		panic(http.ErrAbortHandler) // the one way to say that it is not all
	}
	return nil
}

type unpackInput struct {
	FilePath
	Owners bool `query:"owners" doc:"Give everything the archive's owners and special modes, which takes root."`
}

func (a *API) unpackFiles(w *front.ResponseWriter, r *http.Request, in *unpackInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	err := a.service.UnpackFiles(ctx, front.PrincipalOf(ctx), in.ID, in.Path, requestBody{r.Body},
		container.UnpackFilesOptions{User: in.User, Owners: in.Owners})
	if err != nil {
		return problem.CauseOf(ctx, err)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *API) watchRoute(tags []string) {
	changes := map[string]reflect.Type{v1.EventError: reflect.TypeFor[v1.Problem]()}
	for _, kind := range []string{v1.FileWatching, v1.FileCreated, v1.FileWritten, v1.FileClosed, v1.FileChanged,
		v1.FileRemoved, v1.FileMoved, v1.FileOverflow} {
		changes[kind] = reflect.TypeFor[v1.FileEvent]()
	}
	stream(a, front.Watch, huma.Operation{
		OperationID: "watch-files", Method: http.MethodGet, Path: filesPath + "/watch", Tags: tags,
		Summary: "Watch files",
		Description: "Events, the first of which is watching: from then on nothing is missed untold. After overflow, list the files anew: changes came " +
			"faster than the client took them, or there are more than 8192 directories. A watch that sees nothing does not keep a session from " +
			"idling." + byUser,
		Responses: map[string]*huma.Response{"200": {Description: "Events",
			Content: map[string]*huma.MediaType{eventStream: a.events(changes)}},
			"default": {Description: "Error", Content: body[v1.Problem](a, problem.ContentType)}},
	}, a.watchFiles)
}

type watchInput struct {
	FilePath
	Recursive bool `query:"recursive" doc:"With directories below, at most 8192 of them."`
}

func (a *API) watchFiles(w *front.ResponseWriter, r *http.Request, in *watchInput) error {
	ctx, cancel := a.streams.Until(r.Context())
	defer cancel(nil)
	defer w.Patient(ctx)()
	events := newEventWriter(w, a.timing.keepalive)
	err := a.service.WatchFiles(ctx, front.PrincipalOf(ctx), in.ID, in.Path,
		container.WatchFilesOptions{User: in.User, Recursive: in.Recursive}, func(e container.FileEvent) error {
			event := v1.FileEvent{Kind: e.Kind, Directory: e.Directory}
			event.Path, event.RawPath = v1.RawText(e.Path)
			event.From, event.RawFrom = v1.RawText(e.From)
			return events.send(e.Kind, event)
		})
	return a.finish(ctx, events, problem.CauseOf(ctx, err), func() error { return nil })
}
