package agented

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/octobot-run/octobot/internal/agentproto"
	"github.com/octobot-run/octobot/internal/container"
)

var (
	_ container.Files        = (*Runtime)(nil)
	_ container.FileArchiver = (*Runtime)(nil)
	_ container.FileWatcher  = (*Runtime)(nil)
	_ container.FileSearcher = (*Runtime)(nil)
)

// beginFiles begins an operation on files, unless problem says that its arguments make no sense.
// What carries more than a message or two goes over the link for files.
func (r *Runtime) beginFiles(
	ctx context.Context, op string, at place, problem error, request agentproto.Message,
) (*operation, error) {
	if err := cmp.Or(container.ValidateSessionID(at.sessionID), problem); err != nil {
		return nil, failed(op, at.sessionID, err)
	}
	o, err := r.ask(ctx, op, at, request, container.ErrPathNotFound)
	if err == nil {
		o.taken = container.ErrPathExists
	}
	return o, err
}

// askFiles asks what is answered with one message.
func (r *Runtime) askFiles(
	ctx context.Context, op, sessionID string, problem error, request, answer agentproto.Message,
) error {
	o, err := r.beginFiles(ctx, op, place{sessionID, forCommands}, problem, request)
	if err != nil {
		return err
	}
	defer o.end()
	if err := o.Receive(answer); err != nil {
		return o.fail(err)
	}
	return nil
}

// askInfo asks what is answered with what a file is.
func (r *Runtime) askInfo(
	ctx context.Context, op, sessionID string, problem error, request agentproto.Message,
) (*container.FileInfo, error) {
	var said agentproto.FileInfo
	if err := r.askFiles(ctx, op, sessionID, problem, request, &said); err != nil {
		return nil, err
	}
	info := fileInfo(&said)
	return &info, nil
}

func as(user, path string) agentproto.As { return agentproto.As{User: user, Path: path} }

var fileTypes = map[agentproto.FileType]string{
	agentproto.TypeFile:        container.FileRegular,
	agentproto.TypeDirectory:   container.FileDirectory,
	agentproto.TypeSymlink:     container.FileSymlink,
	agentproto.TypeFIFO:        container.FileFIFO,
	agentproto.TypeSocket:      container.FileSocket,
	agentproto.TypeCharDevice:  container.FileCharDevice,
	agentproto.TypeBlockDevice: container.FileBlockDevice,
}

// fileInfo takes what an agent says for no more than it is: names are shown, and never used.
func fileInfo(i *agentproto.FileInfo) container.FileInfo {
	return container.FileInfo{
		Name: i.Name, Type: fileTypes[i.Type], Mode: i.Mode & 0o7777, UID: i.UID, GID: i.GID,
		Owner: container.Printable(i.Owner), Group: container.Printable(i.Group), Size: max(i.Size, 0),
		Modified: time.Unix(0, i.Modified).UTC(), Target: i.Target, Version: version(i.Version),
	}
}

// version takes letters and digits: it becomes a header of HTTP.
func version(s string) string {
	const most = 128
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return ""
		}
	}
	return s[:min(len(s), most)]
}

// StatFile implements [container.Files].
func (r *Runtime) StatFile(
	ctx context.Context, sessionID, path string, opts container.StatFileOptions,
) (*container.FileInfo, error) {
	return r.askInfo(ctx, "statfile", sessionID, container.ValidateFile(path, opts.User, 0),
		&agentproto.Stat{As: as(opts.User, path), Follow: opts.Follow})
}

// maxEntries is how many entries of a directory are told, and maxNames how long the names, or what
// a search finds, may be together: callers may hold them all.
const (
	maxEntries = 1 << 18
	maxNames   = 64 << 20
)

// ListFiles implements [container.Files].
func (r *Runtime) ListFiles(
	ctx context.Context, sessionID, path, user string, each func(container.FileInfo) error,
) error {
	o, err := r.beginFiles(ctx, "listfiles", place{sessionID, forFiles}, container.ValidateFile(path, user, 0),
		&agentproto.List{As: as(user, path)})
	if err != nil {
		return err
	}
	defer o.end()
	names := 0
	for told := 0; ; {
		frame, err := o.Next()
		if err != nil {
			return o.fail(cutShort(err))
		}
		if frame.Kind != agentproto.KindEntries {
			return o.last(frame)
		}
		var entries agentproto.Entries
		if err := frame.Decode(&entries); err != nil {
			return o.fail(err)
		}
		if len(entries.Files) == 0 {
			return o.fail(agentproto.ErrFrame)
		}
		if told += len(entries.Files); told > maxEntries {
			return container.Errorf(o.op, sessionID, container.ErrLimitReached, "more than %d entries", maxEntries)
		}
		for i := range entries.Files {
			if names += len(entries.Files[i].Name) + len(entries.Files[i].Target); names > maxNames {
				return container.Errorf(o.op, sessionID, container.ErrLimitReached, "more than %d bytes of names",
					maxNames)
			}
			if err := each(fileInfo(&entries.Files[i])); err != nil {
				return err
			}
		}
	}
}

// last takes the last frame of an operation that has nothing more to say.
func (o *operation) last(frame agentproto.Frame) error {
	if err := frame.Decode(&agentproto.Done{}); err != nil {
		return o.fail(err)
	}
	return nil
}

// MakeDirectory implements [container.Files].
func (r *Runtime) MakeDirectory(
	ctx context.Context, sessionID, path string, opts container.MakeDirectoryOptions,
) (*container.FileInfo, error) {
	return r.askInfo(ctx, "makedirectory", sessionID, container.ValidateFile(path, opts.User, opts.Mode),
		&agentproto.MakeDirectory{As: as(opts.User, path), Mode: opts.Mode, Parents: opts.Parents})
}

// MoveFile implements [container.Files].
func (r *Runtime) MoveFile(
	ctx context.Context, sessionID, from, to string, opts container.MoveFileOptions,
) error {
	problem := cmp.Or(container.ValidateFile(from, opts.User, 0), container.ValidateFilePath(to))
	return r.askFiles(ctx, "movefile", sessionID, problem,
		&agentproto.Move{As: as(opts.User, from), To: to, Overwrite: opts.Overwrite}, &agentproto.Done{})
}

// RemoveFile implements [container.Files].
func (r *Runtime) RemoveFile(
	ctx context.Context, sessionID, path string, opts container.RemoveFileOptions,
) error {
	return r.askFiles(ctx, "removefile", sessionID, container.ValidateFile(path, opts.User, 0),
		&agentproto.Remove{As: as(opts.User, path), Recursive: opts.Recursive}, &agentproto.Done{})
}

// ChangeFile implements [container.Files].
func (r *Runtime) ChangeFile(
	ctx context.Context, sessionID, path string, opts container.ChangeFileOptions,
) (*container.FileInfo, error) {
	problem := cmp.Or(container.ValidateFile(path, opts.User, opts.Mode), opts.Validate())
	return r.askInfo(ctx, "changefile", sessionID, problem, &agentproto.ChangeFile{As: as(opts.User, path),
		Mode: opts.Mode, SetMode: opts.SetMode, Owner: opts.Owner, Recursive: opts.Recursive})
}

var fileChanges = map[agentproto.FileChange]string{
	agentproto.FileCreated:  container.FileCreated,
	agentproto.FileWritten:  container.FileWritten,
	agentproto.FileClosed:   container.FileClosed,
	agentproto.FileChanged:  container.FileChanged,
	agentproto.FileRemoved:  container.FileRemoved,
	agentproto.FileMoved:    container.FileMoved,
	agentproto.FileOverflow: container.FileOverflow,
}

// WatchFiles implements [container.FileWatcher].
func (r *Runtime) WatchFiles(
	ctx context.Context, sessionID, path string, opts container.WatchFilesOptions, each func(container.FileEvent) error,
) error {
	o, err := r.beginFiles(ctx, "watchfiles", place{sessionID, forCommands}, container.ValidateFile(path, opts.User, 0),
		&agentproto.Watch{As: as(opts.User, path), Recursive: opts.Recursive})
	if err != nil {
		return err
	}
	defer o.end()
	if err := o.Receive(&agentproto.Watching{}); err != nil {
		return o.fail(err)
	}
	o.silence.Stop()
	if err := each(container.FileEvent{Kind: container.FileWatching, Path: path}); err != nil {
		return err
	}
	for {
		var e agentproto.FileEvent
		if err := o.Receive(&e); err != nil {
			return o.fail(err)
		}
		if err := ctx.Err(); err != nil { // there may be events still that have come before that
			return o.fail(err)
		}
		kind, ok := fileChanges[e.Change]
		if !ok {
			continue // a newer agent's
		}
		if err := each(container.FileEvent{Kind: kind, Path: e.Path, From: e.From,
			Directory: e.Directory}); err != nil {
			return err
		}
	}
}

// SearchFiles implements [container.FileSearcher].
func (r *Runtime) SearchFiles(
	ctx context.Context, sessionID, dir string, opts container.SearchFilesOptions, each func(container.FileMatch) error,
) (incomplete string, err error) {
	problem := cmp.Or(container.ValidateFile(dir, opts.User, 0), opts.Validate())
	o, err := r.beginFiles(ctx, "searchfiles", place{sessionID, forFiles}, problem, &agentproto.Search{
		As: as(opts.User, dir), Name: opts.Name, Content: opts.Content, Regexp: opts.Regexp,
		IgnoreCase: opts.IgnoreCase,
		Limit:      opts.Limit, MaxSize: opts.MaxSize})
	if err != nil {
		return "", err
	}
	defer o.end()
	names := 0
	for found := 0; ; found++ {
		frame, err := o.Next()
		if err != nil {
			return "", o.fail(cutShort(err))
		}
		if frame.Kind != agentproto.KindMatch || found > opts.Limit {
			var searched agentproto.Searched
			if err := frame.Decode(&searched); err != nil {
				return "", o.fail(err)
			}
			return container.Printable(searched.Incomplete), nil
		}
		var m agentproto.Match
		if err := frame.Decode(&m); err != nil {
			return "", o.fail(err)
		}
		if names += len(m.Path) + len(m.Text); names > maxNames {
			return fmt.Sprintf("more than %d bytes were found", maxNames), nil
		}
		if err := each(container.FileMatch{Path: m.Path, Type: fileTypes[m.Type], Line: m.Line,
			Text: m.Text}); err != nil {
			return "", err
		}
	}
}
