package toybox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
)

// each runs fn over the files named, or over standard input without names.
func (p *Process) each(names []string, fn func(io.Reader) error) int {
	if len(names) == 0 {
		names = []string{"-"}
	}
	code := 0
	for _, name := range names {
		r, err := p.Stdin, error(nil)
		if name != "-" {
			r, err = openFile(p, name)
		}
		if err == nil {
			err = fn(r)
		}
		if err != nil {
			code = p.fail(1, "%s: %s", name, err)
		}
	}
	return code
}

// transfer copies until the input ends or the process is killed.
func (p *Process) transfer(ctx context.Context, r io.Reader) error {
	_, err := io.Copy(p.Stdout, untilKilled{ctx, r})
	return err
}

// untilKilled is a reader that ends with ctx.
type untilKilled struct {
	ctx context.Context
	r   io.Reader
}

func (u untilKilled) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.r.Read(b)
}

func cmdCat(ctx context.Context, p *Process) int {
	return p.each(p.Args[1:], func(r io.Reader) error { return p.transfer(ctx, r) })
}

// count reads an option such as -c 10, and returns the arguments after it.
func (p *Process) count(args []string, option string, otherwise int64) (int64, []string, bool) {
	if len(args) < 2 || args[0] != option {
		return otherwise, args, false
	}
	n, err := strconv.ParseInt(args[1], 10, 64)
	if err != nil || n < 0 {
		return otherwise, args, false
	}
	return n, args[2:], true
}

func cmdHead(ctx context.Context, p *Process) int {
	if n, names, ok := p.count(p.Args[1:], "-c", 0); ok {
		return p.each(names, func(r io.Reader) error { return p.transfer(ctx, io.LimitReader(r, n)) })
	}
	n, names, _ := p.count(p.Args[1:], "-n", 10)
	return p.each(names, func(r io.Reader) error {
		for range n {
			line, err := readLine(untilKilled{ctx, r})
			if p.print(line) != 0 || errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func cmdTail(ctx context.Context, p *Process) int {
	if slices.Equal(p.Args[1:], []string{"-f", "/dev/null"}) {
		<-ctx.Done()
		return 1
	}
	n, names, _ := p.count(p.Args[1:], "-n", 10)
	return p.each(names, func(r io.Reader) error {
		data, err := io.ReadAll(io.LimitReader(untilKilled{ctx, r}, MaxFiles))
		lines := slices.Collect(bytes.Lines(data))
		p.print(string(bytes.Join(lines[max(0, len(lines)-int(n)):], nil)))
		return err
	})
}

func cmdYes(ctx context.Context, p *Process) int {
	lines := bytes.Repeat([]byte("y\n"), 4096)
	for ctx.Err() == nil {
		if _, err := p.Stdout.Write(lines); err != nil {
			return 1
		}
	}
	return 1
}

// cmdSeq knows "seq LAST" and "seq FIRST LAST".
func cmdSeq(ctx context.Context, p *Process) int {
	args := p.Args[1:]
	if len(args) == 1 {
		args = []string{"1", args[0]}
	}
	if len(args) != 2 {
		return p.fail(1, "one or two numbers are needed")
	}
	var bounds [2]int64
	for i, arg := range args {
		var err error
		if bounds[i], err = strconv.ParseInt(arg, 10, 64); err != nil {
			return p.fail(1, "invalid number %q", arg)
		}
	}
	const portion = 32 << 10
	var lines []byte
	for n, last := bounds[0], bounds[1]; n <= last; n++ {
		lines = append(strconv.AppendInt(lines, n, 10), '\n')
		if len(lines) < portion && n < last {
			continue
		}
		if ctx.Err() != nil {
			return 1
		}
		if code := p.print(string(lines)); code != 0 {
			return code
		}
		lines = lines[:0]
	}
	return 0
}

func cmdWc(ctx context.Context, p *Process) int {
	var size, lines int
	args := p.Args[1:]
	onlySize := len(args) > 0 && args[0] == "-c"
	if onlySize {
		args = args[1:]
	}
	code := p.each(args, func(r io.Reader) error {
		b := make([]byte, 32<<10)
		for {
			n, err := untilKilled{ctx, r}.Read(b)
			size += n
			lines += bytes.Count(b[:n], []byte("\n"))
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	if onlySize {
		return max(code, p.print(fmt.Sprintln(size)))
	}
	return max(code, p.print(fmt.Sprintln(lines, size)))
}
