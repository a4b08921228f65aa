package agentproto

// Kinds of files, 80 to 111.
const (
	KindStat          Kind = iota + 80 // [Stat], a request
	KindFileInfo                       // [FileInfo]
	KindList                           // [List], a request
	KindEntries                        // [Entries]
	KindMakeDirectory                  // [MakeDirectory], a request
	KindMove                           // [Move], a request
	KindRemove                         // [Remove], a request
	KindReadFile                       // [ReadFile], a request
	KindWriteFile                      // [WriteFile], a request
	KindWatch                          // [Watch], a request
	KindWatching                       // [Watching]
	KindFileEvent                      // [FileEvent]
	KindPack                           // [Pack], a request
	KindUnpack                         // [Unpack], a request
	KindChangeFile                     // [ChangeFile], a request
	KindSearch                         // [Search], a request
	KindMatch                          // [Match]
	KindSearched                       // [Searched]
)

// As is what every request about files begins with: the path, absolute and any bytes but NUL, and
// whose permissions count.
type As struct {
	User string // as [Command].User
	Path string
}

// Asked gives what every request about files begins with.
func (a *As) Asked() *As { return a }

func (a *As) fields(f *fields) {
	f.text(&a.User)
	f.text(&a.Path)
}

// FileType is what kind of thing a path is.
type FileType uint8

// Types of files. Numbers are for ever.
const (
	TypeFile FileType = iota + 1
	TypeDirectory
	TypeSymlink
	TypeFIFO
	TypeSocket
	TypeCharDevice
	TypeBlockDevice
)

// FileInfo is what a file system says of a path.
type FileInfo struct {
	Name     string // the last element; any bytes
	Type     FileType
	Mode     uint32 // permissions with setuid, setgid and sticky: at most 07777
	UID, GID int64
	Owner    string // the name of UID in the container; empty where it has none
	Group    string // that of GID
	Size     int64
	Modified int64  // nanoseconds since 1970
	Target   string // of a symbolic link, as it stands there
	Version  string // another one whenever the file is replaced or written to
}

// Kind implements [Message].
func (*FileInfo) Kind() Kind { return KindFileInfo }

func (i *FileInfo) fields(f *fields) {
	f.text(&i.Name)
	number(f, &i.Type)
	number(f, &i.Mode)
	number(f, &i.UID)
	number(f, &i.GID)
	f.text(&i.Owner)
	f.text(&i.Group)
	number(f, &i.Size)
	number(f, &i.Modified)
	f.text(&i.Target)
	f.text(&i.Version)
}

// Stat asks what a path is. The answer is one [FileInfo].
type Stat struct {
	As
	Follow bool // the target of a link, instead of the link
}

// Kind implements [Message].
func (*Stat) Kind() Kind { return KindStat }

func (s *Stat) fields(f *fields) {
	nested(f, &s.As, (*As).fields)
	boolean(f, &s.Follow)
}

// List asks what is in a directory. The answer is [Entries] as often as needed, in the directory's
// own order, then KindDone.
type List struct {
	As
}

// Kind implements [Message].
func (*List) Kind() Kind { return KindList }

func (l *List) fields(f *fields) { nested(f, &l.As, (*As).fields) }

// Entries are some of a directory's.
type Entries struct {
	Files []FileInfo
}

// Kind implements [Message].
func (*Entries) Kind() Kind { return KindEntries }

func (e *Entries) fields(f *fields) {
	list(f, &e.Files, func(f *fields, i *FileInfo) { i.fields(f) })
}

// MakeDirectory makes a directory. The answer is its [FileInfo].
type MakeDirectory struct {
	As
	Mode    uint32 // 0 for 0755
	Parents bool   // those above too, and one that is there already is fine
}

// Kind implements [Message].
func (*MakeDirectory) Kind() Kind { return KindMakeDirectory }

func (m *MakeDirectory) fields(f *fields) {
	nested(f, &m.As, (*As).fields)
	number(f, &m.Mode)
	boolean(f, &m.Parents)
}

// Move gives a file or directory another name, on the same file system. The answer is KindDone.
type Move struct {
	As
	To        string // the new path itself, not a directory to move into
	Overwrite bool   // a file, or an empty directory, that is at To already
}

// Kind implements [Message].
func (*Move) Kind() Kind { return KindMove }

func (m *Move) fields(f *fields) {
	nested(f, &m.As, (*As).fields)
	f.text(&m.To)
	boolean(f, &m.Overwrite)
}

// Remove removes a file, a link, or an empty directory. The answer is KindDone.
type Remove struct {
	As
	Recursive bool // a directory with all below it
}

// Kind implements [Message].
func (*Remove) Kind() Kind { return KindRemove }

func (r *Remove) fields(f *fields) {
	nested(f, &r.As, (*As).fields)
	boolean(f, &r.Recursive)
}

// ReadFile reads a regular file. The answer is its [FileInfo], with the name that was asked for,
// then KindData and at last KindDone.
type ReadFile struct {
	As
	Offset int64
	Length int64 // at most so many bytes; 0 for all to the end, as it is when that is reached
}

// Kind implements [Message].
func (*ReadFile) Kind() Kind { return KindReadFile }

func (r *ReadFile) fields(f *fields) {
	nested(f, &r.As, (*As).fields)
	number(f, &r.Offset)
	number(f, &r.Length)
}

// WriteFile writes a regular file: after KindEnd the path has the new content, until then, and
// where the stream ends before that, the old one. The daemon sends KindData and KindEnd; the answer
// is the file's [FileInfo]. After an [Error] the agent drops what still comes, until the daemon
// ends the stream.
type WriteFile struct {
	As
	Mode    uint32 // 0 for that of the file that is there, or 0644
	Parents bool   // make missing directories, with mode 0755
	Owner   string // as [Command].User; empty for the user, or for root whose it was
	Sync    bool   // on the disk before it takes its place
	New     bool   // there must be none: [Exists]
	Version string // it must have this: [Changed]; "*" for any that is there, empty for any
}

// Kind implements [Message].
func (*WriteFile) Kind() Kind { return KindWriteFile }

func (w *WriteFile) fields(f *fields) {
	nested(f, &w.As, (*As).fields)
	number(f, &w.Mode)
	boolean(f, &w.Parents)
	f.text(&w.Owner)
	boolean(f, &w.Sync)
	boolean(f, &w.New)
	f.text(&w.Version)
}

// ChangeFile changes mode and owner, of a link's target. The answer is [FileInfo].
type ChangeFile struct {
	As
	Mode      uint32
	SetMode   bool
	Owner     string // as [Command].User; empty leaves it
	Recursive bool   // all below too, links left alone
}

// Kind implements [Message].
func (*ChangeFile) Kind() Kind { return KindChangeFile }

func (c *ChangeFile) fields(f *fields) {
	nested(f, &c.As, (*As).fields)
	number(f, &c.Mode)
	boolean(f, &c.SetMode)
	f.text(&c.Owner)
	boolean(f, &c.Recursive)
}

// Watch tells what happens to a file, or in a directory. The answer is [Watching], from when on no
// change is missed, then [FileEvent] until the daemon ends the stream.
type Watch struct {
	As
	Recursive bool // directories below too, those that are made later among them
}

// Kind implements [Message].
func (*Watch) Kind() Kind { return KindWatch }

func (w *Watch) fields(f *fields) {
	nested(f, &w.As, (*As).fields)
	boolean(f, &w.Recursive)
}

// Watching says that the watch is on.
type Watching struct {
	Directories int // that are watched; 0 for a single file
}

// Kind implements [Message].
func (*Watching) Kind() Kind { return KindWatching }

func (w *Watching) fields(f *fields) { number(f, &w.Directories) }

// FileChange is what happened to a file.
type FileChange uint8

// Changes of files. Numbers are for ever.
const (
	FileCreated FileChange = iota + 1
	FileWritten            // content, by a program that may go on writing
	FileClosed             // a program that had it open for writing has closed it
	FileChanged            // mode, owner, times or number of links
	FileRemoved
	FileMoved    // from From to Path
	FileOverflow // events, or directories beyond the limit, were missed: look for yourself
)

// FileEvent is one change.
type FileEvent struct {
	Change    FileChange
	Path      string // below the path that is watched, as that was given
	From      string // with FileMoved
	Directory bool   // Path is one
}

// Kind implements [Message].
func (*FileEvent) Kind() Kind { return KindFileEvent }

func (e *FileEvent) fields(f *fields) {
	number(f, &e.Change)
	f.text(&e.Path)
	f.text(&e.From)
	boolean(f, &e.Directory)
}

// Pack packs a path, with all below it where it is a directory, into a tar archive whose names
// start with the path's last element. A path that ends in "/." gives names that start with ".". The
// answer is KindData, then KindDone.
type Pack struct {
	As
}

// Kind implements [Message].
func (*Pack) Kind() Kind { return KindPack }

func (p *Pack) fields(f *fields) { nested(f, &p.As, (*As).fields) }

// Unpack unpacks a tar archive into a directory, which must exist. The daemon sends KindData and
// KindEnd, the answer is KindDone. What was unpacked before a failure stays. After an [Error] the
// agent drops what still comes, until the daemon ends the stream.
type Unpack struct {
	As
	Owners bool // the archive's owners and special modes; else all is the user's
}

// Kind implements [Message].
func (*Unpack) Kind() Kind { return KindUnpack }

func (u *Unpack) fields(f *fields) {
	nested(f, &u.As, (*As).fields)
	boolean(f, &u.Owners)
}

// Search looks for files below a directory. The answer is [Match] as often as something is found,
// then [Searched].
type Search struct {
	As
	Name       string // a glob of the last element; empty for any
	Content    string // text that a line of it holds; empty: content is not looked at
	Regexp     bool   // Content is a regular expression
	IgnoreCase bool
	Limit      int   // matches at most
	MaxSize    int64 // content of larger files is passed over
}

// Kind implements [Message].
func (*Search) Kind() Kind { return KindSearch }

func (s *Search) fields(f *fields) {
	nested(f, &s.As, (*As).fields)
	f.text(&s.Name)
	f.text(&s.Content)
	boolean(f, &s.Regexp)
	boolean(f, &s.IgnoreCase)
	number(f, &s.Limit)
	number(f, &s.MaxSize)
}

// Match is something that was found.
type Match struct {
	Path string
	Type FileType
	Line int64  // of the content, from 1
	Text string // the line, or what is around the match
}

// Kind implements [Message].
func (*Match) Kind() Kind { return KindMatch }

func (m *Match) fields(f *fields) {
	f.text(&m.Path)
	number(f, &m.Type)
	number(f, &m.Line)
	f.text(&m.Text)
}

// Searched says that the search is over.
type Searched struct {
	Incomplete string // why there may be more; empty where there is not
}

// Kind implements [Message].
func (*Searched) Kind() Kind { return KindSearched }

func (s *Searched) fields(f *fields) { f.text(&s.Incomplete) }
