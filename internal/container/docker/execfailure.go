package docker

import (
	"archive/tar"
	"bytes"
	"cmp"
	"debug/elf"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

// What the kernel says of a program that it can't execute, in Go's words.
const (
	badFormat   = "exec format error"
	noSuchFile  = "no such file or directory"
	tooLongArgs = "argument list too long"
)

const (
	// Linux takes no string of an argument or a variable that is longer, where pages have 4 KiB,
	// and not more of all together than a quarter of the usual limit of a stack.
	maxArgument  = 128 << 10
	maxArguments = 2 << 20
	// fileHeadSize holds what the kernel reads of a file to find out how to execute it.
	fileHeadSize = 64 << 10
	maxLinks     = 8
)

// execFailure checks what runc's child says where execve fails, "exec /path: reason", and gives
// path and reason. It is empty where that is not so: then a command's own words they are. Behind it
// Podman 4.3 may have added words of its own.
func (r *process) execFailure(line string) string {
	text, ok := strings.CutPrefix(line, string(execWords))
	at := strings.LastIndex(text, ": ")
	if !ok || at < 0 {
		return ""
	}
	file, why := text[:at], text[at+2:]
	if cmd := r.opts.Cmd[0]; file != cmd && (strings.Contains(cmd, "/") || path.Base(file) != cmd) {
		return ""
	}
	if why == tooLongArgs {
		if !r.argumentsTooLong() {
			return ""
		}
	} else if why == "" || r.whyNot(r.absolute(file), 0) != why {
		return ""
	}
	return text
}

func (r *process) argumentsTooLong() bool {
	sum := 0
	for _, s := range slices.Concat(r.opts.Cmd, r.opts.Env) {
		if len(s) >= maxArgument {
			return true
		}
		sum += len(s) + 1
	}
	return sum >= maxArguments
}

// absolute gives a path as the command's working directory makes it.
func (r *process) absolute(name string) string {
	if path.IsAbs(name) {
		return name
	}
	dir := r.opts.WorkingDir
	if dir == "" {
		info, err := r.p.client.ContainerInspect(r.Ctx, r.containerID, client.ContainerInspectOptions{})
		if err == nil && info.Container.Config != nil {
			dir = info.Container.Config.WorkingDir
		}
	}
	return path.Join(cmp.Or(dir, "/"), name)
}

// whyNot finds out why the kernel does not execute a file of the container; empty where it does, or
// that can't be known. The file itself, with depth 0, is there, seen or not: engines don't show
// what is on a tmpfs.
func (r *process) whyNot(name string, depth int) string {
	head, err := r.fileHead(name)
	switch {
	case cerrdefs.IsNotFound(err) && depth > 0:
		return noSuchFile
	case err != nil || depth > maxLinks:
		return ""
	}
	if line, ok := bytes.CutPrefix(head, []byte("#!")); ok {
		line, _, _ = bytes.Cut(line, []byte("\n"))
		line = bytes.TrimLeft(line, " \t")
		if end := bytes.IndexAny(line, " \t\x00"); end >= 0 {
			line = line[:end]
		}
		if len(line) == 0 {
			return badFormat
		}
		return r.whyNot(r.absolute(string(line)), depth+1)
	}
	if !bytes.HasPrefix(head, []byte(elf.ELFMAG)) {
		return badFormat
	}
	machine, interpreter, ok := readELF(head)
	if !ok {
		return badFormat
	}
	if arch, err := r.engineArch(); err == nil && machines[arch] != nil && !slices.Contains(machines[arch], machine) {
		return badFormat
	}
	if interpreter == "" {
		return ""
	}
	return r.whyNot(r.absolute(interpreter), depth+1)
}

// machines are those whose programs an architecture's kernels may execute; of others nothing is
// known.
var machines = map[string][]elf.Machine{
	"amd64": {elf.EM_X86_64, elf.EM_386},
	"arm64": {elf.EM_AARCH64, elf.EM_ARM},
}

// readELF reads the beginning of a program. Its sections, at the end, the kernel does not read
// either.
func readELF(head []byte) (machine elf.Machine, interpreter string, ok bool) {
	head = slices.Clone(head)
	switch {
	case len(head) >= 64 && head[elf.EI_CLASS] == byte(elf.ELFCLASS64):
		clear(head[40:48]) // where the sections are, how many, and which has their names
		clear(head[60:64])
	case len(head) >= 52 && head[elf.EI_CLASS] == byte(elf.ELFCLASS32):
		clear(head[32:36])
		clear(head[48:52])
	default:
		return 0, "", false
	}
	f, err := elf.NewFile(bytes.NewReader(head))
	if err != nil {
		return 0, "", false
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		name, err := io.ReadAll(io.LimitReader(p.Open(), fileHeadSize))
		if err != nil {
			return f.Machine, "", true
		}
		return f.Machine, string(bytes.TrimRight(name, "\x00")), true
	}
	return f.Machine, "", true
}

// fileHead reads the beginning of a file of the container's, where links lead.
func (r *process) fileHead(name string) ([]byte, error) {
	for range maxLinks {
		found, err := r.p.client.ContainerStatPath(r.Ctx, r.containerID, client.ContainerStatPathOptions{Path: name})
		if err != nil {
			return nil, err
		}
		if found.Stat.Mode&fs.ModeSymlink != 0 && found.Stat.LinkTarget != "" && found.Stat.LinkTarget != name {
			name = path.Join("/", path.Dir(name), found.Stat.LinkTarget)
			if path.IsAbs(found.Stat.LinkTarget) {
				name = found.Stat.LinkTarget
			}
			continue
		}
		break
	}
	copied, err := r.p.client.CopyFromContainer(r.Ctx, r.containerID,
		client.CopyFromContainerOptions{SourcePath: name})
	if err != nil {
		return nil, err
	}
	defer copied.Content.Close()
	archive := tar.NewReader(copied.Content)
	if _, err := archive.Next(); err != nil {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(archive, fileHeadSize))
}
