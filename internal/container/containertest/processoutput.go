package containertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

// testProcessStreams: what is written on one stream when what was written before has come is after
// it for everybody, whichever stream that was on.
func testProcessStreams(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo one; "+gate(5190)+"; echo two >&2; "+gate(5191)+"; echo three; "+gate(5192)+
		"; echo four >&2; echo five >&2")
	reader := f.follow(f.ctx, id, p.ID, 0)
	f.awaitPosition(id, p.ID, len("one\n"))
	f.openGate(id, 5190)
	f.awaitPosition(id, p.ID, len("one\ntwo\n"))
	f.openGate(id, 5191)
	f.awaitPosition(id, p.ID, len("one\ntwo\nthree\n"))
	f.openGate(id, 5192)
	reader.awaitEnd()
	for _, r := range []*reading{reader, f.read(id, p.ID, 0)} {
		data, tags := r.both()
		f.equal("output", data, "one\ntwo\nthree\nfour\nfive\n")
		f.equal("streams", tags, "oooo"+"eeee"+"oooooo"+"eeeee"+"eeeee")
		f.equal("missed", r.missed, int64(0))
	}
}

// mixed writes on both streams, in all as much as is kept. It writes mixedOut and mixedErr.
const mixed = "seq 1 30000; seq 30001 60000 >&2; seq 60001 90000; seq 90001 100000 >&2"

func mixedOut() string { return lines(1, 30_000) + lines(60_001, 90_000) }
func mixedErr() string { return lines(30_001, 60_000) + lines(90_001, 100_000) }

func testProcessMuch(f *fixture) {
	id := f.shared()
	p := f.startScript(id, mixed+"; exit 7")
	follower := f.readAll(id, p.ID)
	for _, r := range []*reading{follower, f.read(id, p.ID, 0)} {
		f.equal("stdout", r.stdout(), mixedOut())
		f.equal("stderr", r.stderr(), mixedErr())
		f.equal("missed", r.missed, int64(0))
		f.equal("exit code", r.info.ExitCode, 7)
		f.equal("kept", r.info.Kept, r.info.Position)
	}
	data, tags := follower.both()
	again, tagsAgain := f.read(id, p.ID, 0).both()
	f.equal("output once more", again == data && tagsAgain == tags, true)
}

func testProcessBinary(f *fixture) {
	id := f.shared()
	data := make([]byte, 3*256)
	for i := range data {
		data[i] = byte(i)
	}
	res := f.exec(id, container.ExecOptions{Stdin: bytes.NewReader(data)}, "sh", "-c", "cat > /tmp/data")
	f.equal("exit code", res.ExitCode, 0)
	p := f.startScript(id, "cat /tmp/data; cat /tmp/data >&2")
	r := f.readAll(id, p.ID)
	f.equal("stdout", r.stdout(), string(data))
	f.equal("stderr", r.stderr(), string(data))
}

// testProcessAllOutput: who is told of the end finds all of the output there, however short the
// process was, and so does who follows it from the start.
func testProcessAllOutput(f *fixture) {
	id := f.shared()
	for range 20 {
		p := f.startScript(id, "echo out; echo err >&2; exit 7")
		reader := f.follow(f.ctx, id, p.ID, 0)
		info, err := f.detached().WaitProcess(f.ctx, id, p.ID)
		f.must(err)
		f.equal("position", info.Position, int64(len("out\nerr\n")))
		f.equal("kept", info.Kept, int64(len("out\nerr\n")))
		reader.awaitEnd()
		for _, r := range []*reading{reader, f.read(id, p.ID, 0)} {
			f.equal("stdout", r.stdout(), "out\n")
			f.equal("stderr", r.stderr(), "err\n")
			f.equal("running", r.info.Running, false)
			f.equal("exit code", r.info.ExitCode, 7)
		}
	}
}

// testProcessReadEnding: who reads again and again until the process does not run has all of its
// output then.
func testProcessReadEnding(f *fixture) {
	id := f.shared()
	for range 20 {
		p := f.startProcess(id, "echo", "x")
		got, at, running := "", int64(0), true
		for running {
			r := f.read(id, p.ID, at)
			got += r.stdout()
			at, running = r.info.Position, r.info.Running
		}
		f.equal("output", got, "x\n")
	}
}

func testProcessSince(f *fixture) {
	id := f.shared()
	p := f.startScript(id, mixed+"; "+gate(5240))
	f.awaitPosition(id, p.ID, len(mixedOut()+mixedErr()))
	whole := f.read(id, p.ID, 0)
	f.equal("stdout", whole.stdout(), mixedOut())
	f.equal("stderr", whole.stderr(), mixedErr())
	data, tags := whole.both()
	end := int64(len(data))
	f.equal("position", whole.info.Position, end)
	check := func(follow bool) {
		f.Helper()
		for _, since := range []int64{
			0, 1, 4095, 4096, 4097, 1 << 16, rand.Int64N(end), rand.Int64N(end), rand.Int64N(end), end - 1, end,
		} {
			r := f.readWith(id, p.ID, container.OutputOptions{Since: since, Follow: follow})
			got, gotTags := r.both()
			f.equal(fmt.Sprintf("output since %d", since), got, data[since:])
			f.equal(fmt.Sprintf("streams since %d", since), gotTags, tags[since:])
			f.equal("missed", r.missed, int64(0))
			f.equal("position", r.info.Position, end)
		}
	}
	check(false)
	f.openGate(id, 5240)
	f.awaitEnd(id, p.ID)
	check(false)
	check(true)
}

func testProcessBeyond(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo out; "+gate(5250)+"; exit 7")
	end := int64(len("out\n"))
	f.awaitPosition(id, p.ID, int(end))
	check := func() {
		f.Helper()
		for _, since := range []int64{end + 1, 1 << 40} {
			for _, follow := range []bool{false, true} {
				_, _, err := f.detached().ReadProcess(f.ctx, id, p.ID,
					container.OutputOptions{Since: since, Follow: follow}, failing{}, failing{})
				f.class(err, container.ErrInvalidArgument, "since ", since)
			}
		}
		f.equal("position", f.read(id, p.ID, end).info.Position, end)
	}
	check()
	f.openGate(id, 5250)
	f.equal("exit code", f.awaitEnd(id, p.ID).ExitCode, 7)
	check()
}

func testProcessFollow(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo one; "+gate(5260)+"; echo two; "+gate(5261)+"; echo three; exit 7")
	early := f.follow(f.ctx, id, p.ID, 0)
	early.await("one\n")
	f.openGate(id, 5260)
	early.await("one\ntwo\n")
	late := f.follow(f.ctx, id, p.ID, int64(len("one\nt")))
	late.await("wo\n")
	f.openGate(id, 5261)
	for r, want := range map[*reading]string{early: "one\ntwo\nthree\n", late: "wo\nthree\n"} {
		r.awaitEnd()
		f.equal("output", r.stdout(), want)
		f.equal("exit code", r.info.ExitCode, 7)
		f.equal("missed", r.missed, int64(0))
	}
}

func testProcessFollowQuiet(f *fixture) {
	id := f.shared()
	p := f.startScript(id, gate(5270)+"; exit 7")
	reader := f.follow(f.ctx, id, p.ID, 0)
	f.openGate(id, 5270)
	reader.awaitEnd()
	f.equal("position", reader.info.Position, int64(0))
	f.equal("exit code", reader.info.ExitCode, 7)
}

func testProcessFollowContext(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo begin; "+gate(5280)+"; echo end; exit 7")
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	reader := f.follow(ctx, id, p.ID, 0)
	reader.await("begin\n")
	cancel()
	f.mustBePrompt("read", func() {
		<-reader.done
		f.class(reader.err, context.Canceled)
	})
	f.equal("position", reader.info.Position, int64(len("begin\n")))

	f.openGate(id, 5280)
	rest := f.readWith(id, p.ID, container.OutputOptions{Since: reader.info.Position, Follow: true})
	f.equal("output", rest.stdout(), "end\n")
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
}

// testProcessNotFollowed: it comes to an end, even where the output does not.
func testProcessNotFollowed(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo begin; sleep 5290; true")
	f.awaitPosition(id, p.ID, len("begin\n"))
	f.mustBePrompt("read", func() {
		r := f.read(id, p.ID, 0)
		f.equal("output", r.stdout(), "begin\n")
		f.equal("running", r.info.Running, true)
	})

	p = f.startProcess(id, "yes")
	f.mustBePrompt("read", func() {
		r := f.read(id, p.ID, 0)
		f.equal("running", r.info.Running, true)
	})
	f.signal(id, p.ID, 9)
	f.equal("exit code", f.waitProcess(id, p.ID), 137)
}

func testProcessNilWriters(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo out; echo err >&2")
	f.awaitEnd(id, p.ID)
	var out, errs strings.Builder
	processes, opts := f.detached(), container.OutputOptions{}
	read := func(info container.ProcessInfo, missed int64, err error) {
		f.Helper()
		f.must(err)
		f.equal("position", info.Position, int64(len("out\nerr\n")))
		f.equal("missed", missed, int64(0))
	}
	read(processes.ReadProcess(f.ctx, id, p.ID, opts, nil, nil))
	read(processes.ReadProcess(f.ctx, id, p.ID, opts, &out, nil))
	read(processes.ReadProcess(f.ctx, id, p.ID, opts, nil, &errs))
	f.equal("stdout", out.String(), "out\n")
	f.equal("stderr", errs.String(), "err\n")
}

// testProcessWriterError: the error comes back, and the process goes on.
func testProcessWriterError(f *fixture) {
	id := f.shared()
	for _, to := range []string{"", " >&2"} {
		p := f.startScript(id, "echo begin"+to+"; "+gate(5310)+"; exit 7")
		for _, n := range []int{0, 3} {
			r := f.newReading()
			r.take = func([]byte) (int, error) { return n, errWriter }
			f.mustBePrompt("read", func() {
				r.run(f.ctx, f.detached(), id, p.ID, container.OutputOptions{Follow: true})
			})
			if !errors.Is(r.err, errWriter) {
				f.Fatalf("error is %v; want the writer's", r.err)
			}
			f.equal("position", r.info.Position, int64(n))
		}
		f.equal("running", f.process(id, p.ID).Running, true)
		f.openGate(id, 5310)
		f.equal("exit code", f.waitProcess(id, p.ID), 7)
	}
}

// testProcessCuts: who is cut off wherever it likes, and comes back, gets every byte once.
func testProcessCuts(f *fixture) {
	id := f.shared()
	p := f.startScript(id, mixed+"; exit 7")
	var data, tags string
	var cuts []int
	for ended := false; !ended; {
		ctx, cancel := context.WithCancel(f.ctx)
		r, most := f.newReading(), 1+rand.IntN(50_000)
		cancels := rand.IntN(2) == 0
		r.take = func(b []byte) (int, error) {
			if most -= len(b); most > 0 {
				return len(b), nil
			}
			if cancels {
				cancel()
				return len(b), nil
			}
			return len(b) + most, errWriter
		}
		r.run(ctx, f.detached(), id, p.ID, container.OutputOptions{Since: int64(len(data)), Follow: true})
		cancel()
		moreData, moreTags := r.both()
		data, tags = data+moreData, tags+moreTags
		cuts = append(cuts, len(data))
		if r.missed != 0 || r.info.Position != int64(len(data)) {
			f.Fatalf("cut at %v: %d missed, position %d", cuts, r.missed, r.info.Position)
		}
		switch {
		case r.err == nil:
			ended = true
			f.equal("running", r.info.Running, false)
			f.equal("exit code", r.info.ExitCode, 7)
		case cancels:
			f.class(r.err, context.Canceled)
		case !errors.Is(r.err, errWriter):
			f.Fatalf("error is %v; want the writer's", r.err)
		}
	}
	whole, wholeTags := f.read(id, p.ID, 0).both()
	if data != whole || tags != wholeTags {
		f.Fatalf("cut at %v: %d bytes, which end with %s; want %d, which end with %s", cuts, len(data),
			show(tailOf(data)), len(whole), show(tailOf(whole)))
	}
	f.equal("length", len(whole), len(mixedOut()+mixedErr()))
}

// testProcessSlowReader: one that takes nothing does not hold the process up, and gets on with what
// is kept.
func testProcessSlowReader(f *fixture) {
	id := f.shared()
	p := f.startScript(id, fmt.Sprintf("echo begin; %s; seq 1 %d; exit 7", gate(5330), manyNumbers))
	first, release := make(chan struct{}), make(chan struct{})
	slow, stood := f.newReading(), false
	slow.take = func(b []byte) (int, error) {
		if !stood {
			stood = true
			close(first)
			select {
			case <-release:
			case <-f.ctx.Done():
			}
		}
		return len(b), nil
	}
	f.followAs(f.ctx, slow, id, p.ID, 0)
	select {
	case <-first:
	case <-slow.done:
		f.Fatalf("the reading ended (%v) with %s", slow.err, show(slow.stdout()))
	}
	f.openGate(id, 5330)
	f.mustBePrompt("the process", func() { f.awaitEnd(id, p.ID) })
	close(release)
	slow.awaitEnd()
	f.equal("exit code", slow.info.ExitCode, 7)
	whole := "begin\n" + lines(1, manyNumbers)
	f.equal("position", slow.info.Position, int64(len(whole)))
	if slow.missed == 0 {
		f.Fatalf("the slow one has missed nothing of %d bytes", len(whole))
	}
	got := slow.stdout()
	f.equal("first line", strings.HasPrefix(got, "begin\n"), true)
	if kept := whole[len(whole)-container.DefaultKeep:]; !strings.HasSuffix(got, kept) {
		f.Fatalf("the %d bytes which are kept are not the last of the %d that came, which end with %s", len(kept),
			len(got), show(tailOf(got)))
	}
}

func testProcessMissed(f *fixture) {
	id := f.running()
	p := f.startProcess(id, "seq", "1", fmt.Sprint(manyNumbers))
	f.awaitEnd(id, p.ID)
	f.keeps(id, p.ID, lines(1, manyNumbers), container.DefaultKeep)
}

// keeps checks that of the whole output of a process that has ended so much is kept.
func (f *fixture) keeps(id, pid, whole string, keep int64) {
	f.Helper()
	end := int64(len(whole))
	start := max(0, end-keep)
	info := f.process(id, pid)
	f.equal("position", info.Position, end)
	f.equal("kept", info.Kept, end-start)
	for i, since := range []int64{0, start / 2, start, min(start+1, end), start + rand.Int64N(end-start), end} {
		r := f.readWith(id, pid, container.OutputOptions{Since: since, Follow: i%2 == 0})
		from := max(since, start)
		f.equal(fmt.Sprintf("missed since %d", since), r.missed, from-since)
		f.equal(fmt.Sprintf("output since %d", since), r.stdout(), whole[from:])
		f.equal("position", r.info.Position, end)
	}
}

// testProcessKeep: as much is kept as was asked for.
func testProcessKeep(f *fixture) {
	id := f.running()
	const twice = 2 * container.DefaultKeep
	for _, x := range []struct {
		numbers int
		keep    int64
	}{{300_000, twice}, {manyNumbers, twice}, {fewNumbers, 1000}, {fewNumbers, 1}} {
		p := f.startWith(id, container.ProcessOptions{Keep: x.keep}, "seq", "1", fmt.Sprint(x.numbers))
		f.awaitEnd(id, p.ID)
		f.keeps(id, p.ID, lines(1, x.numbers), x.keep)
	}
}

// testProcessKeepReadOnly: what can't be kept is refused; elsewhere there is something that can be
// written all the same.
func testProcessKeepReadOnly(f *fixture) {
	id := f.id("s")
	opts := f.idle()
	opts.ReadOnly = true
	f.start(id, opts)
	p := f.startProcess(id, "seq", "1", fmt.Sprint(fewNumbers))
	f.awaitEnd(id, p.ID)
	f.keeps(id, p.ID, lines(1, fewNumbers), container.DefaultKeep)

	const twice = 2 * container.DefaultKeep
	p, err := f.detached().StartProcess(f.ctx, id, []string{"seq", "1", fmt.Sprint(manyNumbers)},
		container.ProcessOptions{Keep: twice})
	if container.ClassOf(err) == container.ErrUnsupported {
		f.equal("processes", len(f.listProcesses(id)), 1)
		return
	}
	f.must(err)
	f.awaitEnd(id, p.ID)
	f.keeps(id, p.ID, lines(1, manyNumbers), twice)
}
