package container

import (
	"context"
	"io"
	"path"
	"regexp"
	"strings"
	"time"
)

// Files works with the files of a running container, each time as one of its users and with that
// user's permissions, which the container's own kernel checks: [ErrPermission].
//
// Paths are absolute and any bytes but NUL, not necessarily UTF-8; so are the names that come back.
// A path that does not exist, or can't be used for what was asked (a file as a directory, a
// directory as a file, a device as either), gives [ErrPathNotFound]; a container that does not run
// [ErrContainerStopped]; one whose files can't be reached so, or not as another user than its own,
// [ErrUnsupported]: [Copier] may reach them then. What is on a file system that is read-only,
// nobody may change: [ErrPermission]. A name longer than the file system takes, and a user or group
// that the container does not know, give [ErrInvalidArgument]. When ctx ends, so does the
// operation, and the error is ctx's.
type Files interface {
	// StatFile tells what a path is.
	StatFile(ctx context.Context, sessionID, path string, opts StatFileOptions) (*FileInfo, error)

	// ListFiles tells each what is in a directory, in the directory's own order, from the calling
	// goroutine. Its error ends the listing and comes back. An empty user is the container's own.
	ListFiles(ctx context.Context, sessionID, path, user string, each func(FileInfo) error) error

	// ReadFile reads a regular file; nothing else is ever opened. The info is of when it was
	// opened, and its Name that of path, links followed or not. The content is what is read until
	// the file's end, wherever that is by then. The caller closes it; ctx bounds the reading too.
	ReadFile(ctx context.Context, sessionID, path string, opts ReadFileOptions) (*FileInfo, io.ReadCloser, error)

	// WriteFile gives a regular file the content that r gives until io.EOF, and returns what the
	// file is then. Readers see the old content or all of the new: it is written beside the file,
	// and takes its place at last, or the place of what a link at path leads to. Where that fails,
	// or r does, whose error comes back, or ctx ends, the old one stays and nothing is left but
	// directories that Parents made. The user must be allowed to write the file where there is one,
	// and to make files in its directory. Without an Owner asked for, the file is the user's; where
	// root writes, it stays whose it was. No room for it: [ErrNoSpace].
	//
	// A Read that still blocks when the call ends for another reason is abandoned, as with
	// [ExecOptions.Stdin].
	WriteFile(ctx context.Context, sessionID, path string, r io.Reader, opts WriteFileOptions) (*FileInfo, error)

	// MakeDirectory makes a directory. Something there: [ErrPathExists]; with Parents a directory
	// that is there is fine, and stays as it is.
	MakeDirectory(ctx context.Context, sessionID, path string, opts MakeDirectoryOptions) (*FileInfo, error)

	// MoveFile gives what is at from the path to, on the same file system, else
	// [ErrInvalidArgument], as is the root. Links are not followed. Something at to gives
	// [ErrPathExists], unless with Overwrite; a directory that is not empty always does, and so
	// does a directory in a file's way or a file in a directory's.
	MoveFile(ctx context.Context, sessionID, from, to string, opts MoveFileOptions) error

	// RemoveFile removes a file, a link, or a directory. One that is not empty gives
	// [ErrPathExists], unless with Recursive. The root: [ErrInvalidArgument]. A repeated call gives
	// [ErrPathNotFound].
	RemoveFile(ctx context.Context, sessionID, path string, opts RemoveFileOptions) error

	// ChangeFile changes mode and owner, the mode last. Links are followed.
	ChangeFile(ctx context.Context, sessionID, path string, opts ChangeFileOptions) (*FileInfo, error)
}

// FileArchiver moves trees of files as tar archives, as one of the container's users; see [Files].
type FileArchiver interface {
	// PackFiles returns a path, with all below it where it is a directory, as a tar archive whose
	// names start with the path's last element, or with "." where the path ends in "/." or is the
	// root. Links are packed as links, hard links to what is in the archive among them; devices,
	// FIFOs and sockets below the path are left out, as is what vanishes meanwhile and what the
	// kernel shows in /proc and /sys. Something the user may not read: [ErrPermission], from Read.
	// The caller closes it; ctx bounds the reading too.
	PackFiles(ctx context.Context, sessionID, path, user string) (io.ReadCloser, error)

	// UnpackFiles unpacks a tar archive into a directory that exists. Directories are merged with
	// those that are there, files and links replaced; a directory never takes the place of
	// something else, nor the other way round: [ErrPathExists]. Nothing is made outside the
	// directory, whatever names and links the archive holds, nor by a name that leads through a
	// link of the archive's own: [ErrInvalidArgument]. Devices, FIFOs and sockets are left out. All
	// is the user's; with Owners it has the owners and the special modes of the archive, which
	// takes root. An archive that is none, or is cut, between two entries too:
	// [ErrInvalidArgument]. What was unpacked before a failure stays. r is as with WriteFile.
	UnpackFiles(ctx context.Context, sessionID, dir string, r io.Reader, opts UnpackFilesOptions) error
}

// FileWatcher tells of changes to a container's files; see [Files].
type FileWatcher interface {
	// WatchFiles tells each what happens at path until ctx ends, which is its error then, from the
	// calling goroutine. The first event is [FileWatching]: from then on no change is missed
	// untold. Where changes come faster than each takes them, some are dropped, and [FileOverflow]
	// says so. Its error ends the watch and comes back. A path that is removed ends it:
	// [ErrPathNotFound]; a file that another takes the place of is created, and goes on being
	// watched.
	WatchFiles(ctx context.Context, sessionID, path string, opts WatchFilesOptions, each func(FileEvent) error) error
}

// FileSearcher looks for files; see [Files].
type FileSearcher interface {
	// SearchFiles tells each what it finds below a directory, from the calling goroutine, and
	// returns why that may not be all: empty where it is. Links are not followed, directories and
	// files that the user may not read passed over, and so is what is not text where Content is
	// looked for. Its error ends the search and comes back.
	SearchFiles(
		ctx context.Context, sessionID, dir string, opts SearchFilesOptions, each func(FileMatch) error,
	) (incomplete string, err error)
}

// Types of files.
const (
	FileRegular     = "file"
	FileDirectory   = "directory"
	FileSymlink     = "symlink"
	FileFIFO        = "fifo"
	FileSocket      = "socket"
	FileCharDevice  = "char_device"
	FileBlockDevice = "block_device"
)

// FileInfo is what a file system says of a path.
type FileInfo struct {
	Name     string // the last element; any bytes
	Type     string // one of FileRegular, FileDirectory, …
	Mode     uint32 // permissions, with setuid, setgid and sticky: at most 07777
	UID, GID int64
	Owner    string // the name of UID in the container; empty where it has none
	Group    string // that of GID
	Size     int64
	Modified time.Time
	Target   string // of a symbolic link, as it stands there
	// Version is another one whenever the file is replaced or written to, but for two writes within
	// a tick of the kernel's clock. Letters and digits; empty where it is not known.
	Version string
}

// StatFileOptions say how to look. An empty user, here and below, is the container's own.
type StatFileOptions struct {
	User   string // as [Options.User]
	Follow bool   // tell of a link's target instead of the link
}

// ReadFileOptions say what to read.
type ReadFileOptions struct {
	User   string
	Offset int64
	Length int64 // at most so many bytes; zero for all
}

// WriteFileOptions say how to write.
type WriteFileOptions struct {
	User    string
	Mode    uint32 // zero for that of the file that is there, without setuid and setgid, else 0644
	Owner   string // as [Options.User]; another than User takes root
	Parents bool   // make missing directories above, mode 0755
	Sync    bool   // on the disk before it takes its place
	// New: there must be nothing yet, not even a link, else [ErrPathExists].
	New bool
	// Version: the file must be there and have it, else [ErrPathChanged]. Empty for any, "*" for
	// any that is there.
	Version string
}

// MakeDirectoryOptions say how to make a directory.
type MakeDirectoryOptions struct {
	User    string
	Mode    uint32 // zero for 0755
	Parents bool   // make those above too, and take one that is there
}

// MoveFileOptions say how to move.
type MoveFileOptions struct {
	User      string
	Overwrite bool // replace a file, or an empty directory
}

// RemoveFileOptions say what to remove.
type RemoveFileOptions struct {
	User      string
	Recursive bool // a directory with all below it
}

// ChangeFileOptions say what to change.
type ChangeFileOptions struct {
	User      string
	Mode      uint32 // where SetMode: at most 07777
	SetMode   bool
	Owner     string // as [Options.User]; empty leaves it
	Recursive bool   // all below a directory too; links there are left alone
}

// UnpackFilesOptions say how to unpack.
type UnpackFilesOptions struct {
	User   string
	Owners bool // the archive's owners and special modes
}

// WatchFilesOptions say what to watch.
type WatchFilesOptions struct {
	User string
	// Recursive: with directories below, at most 8192 of them; beyond, [FileOverflow].
	Recursive bool
}

// Kinds of file events.
const (
	FileWatching = "watching" // the watch is on
	FileCreated  = "created"
	FileWritten  = "written" // content was written, and more may follow
	FileClosed   = "closed"  // a program that had it open for writing has closed it
	FileChanged  = "changed" // mode, owner, times or number of links
	FileRemoved  = "removed"
	FileMoved    = "moved"    // from From to Path; leaving or entering what is watched is removed or created
	FileOverflow = "overflow" // changes were missed: list the files anew
)

// FileEvent is a change of a file.
type FileEvent struct {
	Kind      string // FileCreated, …
	Path      string // what was watched, and what is below it; any bytes
	From      string // with FileMoved
	Directory bool   // Path is one
}

// SearchFilesOptions say what to look for: files whose name matches Name, or all, and in them lines
// that match Content, where that is given. Without it, directories and links are files too.
type SearchFilesOptions struct {
	User       string
	Name       string // a glob of the last element, as of [path.Match]; empty for any
	Content    string // text, or with Regexp a regular expression of package regexp
	Regexp     bool
	IgnoreCase bool  // of Name and Content
	Limit      int   // matches at most: 1 to 10000; zero for 1000
	MaxSize    int64 // larger files' content is passed over; zero for 16 MiB
}

// FileMatch is something that was found.
type FileMatch struct {
	Path string // below the directory, as that was given; any bytes
	Type string // FileRegular, …
	Line int64  // with Content: its number, from 1
	// Text is the line, at most 512 bytes of it around the match; any bytes.
	Text string
}

// ValidateFilePath accepts what [Files] takes for a path: absolute, and any bytes but NUL.
// Everything else is [ErrInvalidArgument].
func ValidateFilePath(p string) error {
	if !path.IsAbs(p) || len(p) >= maxPath || strings.ContainsRune(p, 0) {
		return invalid("path", "%s is not an absolute path of less than %d bytes", quote(p), maxPath)
	}
	return nil
}

// ValidateFile checks the path, user and mode of an operation on files: [ErrInvalidArgument].
func ValidateFile(p, user string, mode uint32) error {
	if err := ValidateFilePath(p); err != nil {
		return err
	}
	if mode > 0o7777 {
		return invalid("mode", "%#o is not between 0 and 07777", mode)
	}
	return validateUser(user)
}

// Validate checks the options: [ErrInvalidArgument].
func (o ReadFileOptions) Validate() error {
	switch {
	case o.Offset < 0:
		return invalid("offset", "%d is negative", o.Offset)
	case o.Length < 0:
		return invalid("length", "%d is negative", o.Length)
	}
	return nil
}

// Validate checks the options: [ErrInvalidArgument].
func (o WriteFileOptions) Validate() error {
	if o.New && o.Version != "" {
		return invalid("version", "a file that must not be there has none")
	}
	if o.Owner == "" {
		return nil
	}
	return validateUser(o.Owner)
}

// Validate checks the options: [ErrInvalidArgument].
func (o ChangeFileOptions) Validate() error {
	if !o.SetMode && o.Owner == "" {
		return invalid("mode", "neither a mode nor an owner is given")
	}
	return validateUser(o.Owner)
}

// Bounds of a search.
const (
	defaultMatches    = 1000
	maxMatches        = 10000
	maxPattern        = 1024
	defaultSearchSize = 16 << 20
)

// Validate checks the options, and fills in what zero stands for: [ErrInvalidArgument].
func (o *SearchFilesOptions) Validate() error {
	if o.Limit == 0 {
		o.Limit = defaultMatches
	}
	if o.MaxSize == 0 {
		o.MaxSize = defaultSearchSize
	}
	switch {
	case o.Name == "" && o.Content == "":
		return invalid("name", "neither a name nor a content to look for is given")
	case len(o.Name) > maxPattern:
		return invalid("name", "a pattern has at most %d bytes", maxPattern)
	case len(o.Content) > maxPattern:
		return invalid("content", "a pattern has at most %d bytes", maxPattern)
	case o.Limit < 0 || o.Limit > maxMatches:
		return invalid("limit", "%d is not between 1 and %d", o.Limit, maxMatches)
	case o.MaxSize < 0:
		return invalid("max_size", "%d is negative", o.MaxSize)
	}
	if _, err := path.Match(o.Name, ""); err != nil {
		return invalid("name", "%s is not a pattern such as \"*.go\"", quote(o.Name))
	}
	if !o.Regexp {
		return nil
	}
	if _, err := regexp.Compile(o.Content); err != nil {
		return invalid("content", "is not a regular expression: %s",
			strings.TrimPrefix(err.Error(), "error parsing regexp: "))
	}
	return nil
}
