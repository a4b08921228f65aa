package v1

import (
	"strings"
	"time"
	"unicode/utf8"
)

// FileInfo is what a path in a session is.
type FileInfo struct {
	Name      string    `json:"name" doc:"The last element of the path."`
	RawName   []byte    `json:"raw_name,omitempty" doc:"The name's bytes in base64; only where they are not UTF-8."`
	Type      string    `json:"type" doc:"file, directory, symlink, fifo, socket, char_device or block_device."`
	Mode      string    `json:"mode" doc:"Permissions in octal, with setuid, setgid and sticky: 0644."`
	UID       int64     `json:"uid"`
	GID       int64     `json:"gid"`
	Owner     string    `json:"owner,omitempty" doc:"The user's name in the session; absent where it has none."`
	Group     string    `json:"group,omitempty" doc:"The group's name in the session; absent where it has none."`
	Size      int64     `json:"size"`
	Modified  time.Time `json:"modified"`
	Target    string    `json:"target,omitempty" doc:"Of a symbolic link, as it stands there."`
	RawTarget []byte    `json:"raw_target,omitempty" doc:"The target's bytes in base64; only where they are not UTF-8."`
	ETag      string    `json:"etag,omitempty" doc:"Another one whenever a file is replaced or written to."`
}

// Types of files.
const (
	FileRegular   = "file"
	FileDirectory = "directory"
	FileSymlink   = "symlink"
)

// FileList is what is in a directory, in the directory's own order.
type FileList struct {
	Entries []FileInfo `json:"entries" nullable:"false"`
}

// ChangeFileRequest says what to change of a file, or of several.
type ChangeFileRequest struct {
	Mode      string `json:"mode,omitempty" doc:"Permissions in octal: 0644, 4755."`
	Owner     string `json:"owner,omitempty" doc:"name, uid, name:group or uid:gid. Takes root."`
	Recursive bool   `json:"recursive,omitempty" doc:"All below a directory too; links there are left alone."`
}

// FileEvent is a change of a file. The server-sent event's name is its kind.
type FileEvent struct {
	Kind      string `json:"kind" doc:"watching, created, written, closed, changed, removed, moved or overflow."`
	Path      string `json:"path"`
	RawPath   []byte `json:"raw_path,omitempty" doc:"The path's bytes in base64; only where they are not UTF-8."`
	From      string `json:"from,omitempty" doc:"Where a file was moved from."`
	RawFrom   []byte `json:"raw_from,omitempty" doc:"The bytes of from in base64; only where they are not UTF-8."`
	Directory bool   `json:"directory,omitempty"`
}

// Kinds of a [FileEvent], which are the events of GET /v1/sessions/{id}/files/watch. The stream
// ends with error.
const (
	FileWatching = "watching" // from now on no change is missed untold
	FileCreated  = "created"
	FileWritten  = "written"
	FileClosed   = "closed" // a program that wrote it has closed it
	FileChanged  = "changed"
	FileRemoved  = "removed"
	FileMoved    = "moved"
	FileOverflow = "overflow" // changes were missed: list the files anew
)

// FileMatch is something that a search has found.
type FileMatch struct {
	Path    string `json:"path"`
	RawPath []byte `json:"raw_path,omitempty" doc:"The path's bytes in base64; only where they are not UTF-8."`
	Type    string `json:"type"`
	Line    int64  `json:"line,omitempty" doc:"The number of the line, from 1, where content was looked for."`
	Text    string `json:"text,omitempty" doc:"The line, cut around the match where it is long."`
}

// FileMatchList is what a search has found, in the order in which it was.
type FileMatchList struct {
	Matches    []FileMatch `json:"matches" nullable:"false"`
	Incomplete string      `json:"incomplete,omitempty" doc:"Why there may be more; absent where that is all."`
}

// RawText splits what a file system calls something into the text that is shown, and its bytes
// where those are not UTF-8.
func RawText(s string) (text string, raw []byte) {
	if utf8.ValidString(s) {
		return s, nil
	}
	return strings.ToValidUTF8(s, "\uFFFD"), []byte(s)
}

// TextOf gives the bytes again that [RawText] has split.
func TextOf(text string, raw []byte) string {
	if raw != nil {
		return string(raw)
	}
	return text
}
