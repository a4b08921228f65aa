package containertest

import (
	"context"
	"fmt"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

func testProcessExitCode(f *fixture) {
	id := f.shared()
	for script, want := range map[string]int{
		"exit 0": 0, "exit 1": 1, "exit 43": 43, "exit 125": 125, "exit 126": 126, "exit 127": 127, "exit 255": 255,
		"no-such-program": 127, "kill -9 $$; sleep 60": 137, "kill -15 $$; sleep 60": 143,
	} {
		p := f.startScript(id, script)
		f.equal("exit code of "+script, f.waitProcess(id, p.ID), want)
		f.equal("exit code in the list of "+script, f.process(id, p.ID).ExitCode, want)
		r := f.read(id, p.ID, 0)
		f.equal("running", r.info.Running, false)
		f.equal("exit code for who reads "+script, r.info.ExitCode, want)
	}
}

// testProcessKilled: the PID that is told is the command's.
func testProcessKilled(f *fixture) {
	id := f.shared()
	p := f.startProcess(id, "sleep", "5080")
	f.sh(id, fmt.Sprintf("kill -9 %d", p.PID))
	f.equal("exit code", f.waitProcess(id, p.ID), 137)
}

// testProcessSignals: the command has the signals as every program expects them.
func testProcessSignals(f *fixture) {
	id := f.shared()
	for _, signal := range []int{1, 2, 3, 6, 9, 10, 12, 13, 14, 15, 64} {
		p := f.startProcess(id, "sleep", "5090")
		f.signal(id, p.ID, signal)
		f.equal(fmt.Sprint("exit code after signal ", signal), f.waitProcess(id, p.ID), 128+signal)
	}
}

// testProcessHarmless: SIGCHLD, SIGCONT, SIGURG, SIGWINCH and SIGSTOP end nothing, and SIGKILL ends
// what was stopped.
func testProcessHarmless(f *fixture) {
	id := f.shared()
	p := f.startProcess(id, "sleep", "5100")
	for _, signal := range []int{17, 18, 23, 28, 19} {
		f.signal(id, p.ID, signal)
	}
	f.equal("running", f.process(id, p.ID).Running, true)
	f.signal(id, p.ID, 9)
	f.equal("exit code", f.waitProcess(id, p.ID), 137)
}

func testProcessTraps(f *fixture) {
	if !f.caps.RealProcesses {
		return
	}
	id := f.shared()
	p := f.startScript(id, `
		trap "echo TERM" TERM
		trap "echo INT" INT
		trap "echo USR1" USR1
		echo ready
		while [ ! -e /tmp/enough ]; do sleep 0.05; done
		exit 7`)
	reader := f.follow(f.ctx, id, p.ID, 0)
	want := "ready\n"
	reader.await(want)
	for _, x := range []struct {
		signal int
		name   string
	}{{15, "TERM"}, {2, "INT"}, {10, "USR1"}, {15, "TERM"}} {
		f.signal(id, p.ID, x.signal)
		want += x.name + "\n"
		reader.await(want)
	}
	f.sh(id, "touch /tmp/enough")
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
	reader.awaitEnd()
	f.equal("output", reader.stdout(), want)
}

func testProcessIgnores(f *fixture) {
	id := f.shared()
	p := f.startScript(id, `trap "" TERM; echo ready; sleep 5120; true`)
	f.awaitPosition(id, p.ID, len("ready\n"))
	f.awaitProcess(id, "sleep 5120")
	f.signal(id, p.ID, 15)
	f.equal("running", f.process(id, p.ID).Running, true)
	f.signal(id, p.ID, 9)
	f.equal("exit code", f.waitProcess(id, p.ID), 137)
	f.equal("output", f.read(id, p.ID, 0).stdout(), "ready\n")
}

func testProcessGroup(f *fixture) {
	id := f.shared()
	script := "sleep 5130 & sleep 5130; true"
	p := f.startScript(id, script)
	f.awaitSleepers(id, script, "sleep 5130")
	f.signal(id, p.ID, 15)
	f.equal("exit code", f.waitProcess(id, p.ID), 143)
	f.awaitGone(id, "5130")
	f.equal("main process", f.get(id).Status, container.StatusRunning)
}

// testProcessKillTree: when the signal has been sent, nothing is left: neither what has left the
// session nor what has lost its parent. Others go on.
func testProcessKillTree(f *fixture) {
	id := f.shared()
	other := f.startProcess(id, "sleep", "5353")
	script := "setsid sleep 5140 & setsid sh -c 'sleep 5140; true' & sh -c 'sleep 5140 & true'; " +
		"sh -c 'setsid sleep 5140 & true'; sh -c 'sleep 5140; true'; true"
	p := f.startScript(id, script)
	f.awaitSleepers(id, script, "sleep 5140")
	f.mustBePrompt("kill", func() { f.signal(id, p.ID, 9) })
	if left := f.processes(id); strings.Contains(left, "5140") {
		f.Fatalf("what is left is %s", left)
	}
	f.equal("running", f.process(id, p.ID).Running, false)
	f.equal("exit code", f.waitProcess(id, p.ID), 137)
	f.equal("running, the other", f.process(id, other.ID).Running, true)
	f.equal("main process", f.get(id).Status, container.StatusRunning)
}

func testProcessSignalEnded(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "echo bye; exit 7")
	before := f.awaitEnd(id, p.ID)
	for _, signal := range []int{15, 10, 9} {
		f.signal(id, p.ID, signal)
	}
	after := f.process(id, p.ID)
	f.equal("exit code", after.ExitCode, 7)
	f.equal("ended", after.Ended.Equal(before.Ended), true)
	f.equal("output", f.read(id, p.ID, 0).stdout(), "bye\n")
}

// testProcessManyWait: all who wait are told, and so is who comes a moment later.
func testProcessManyWait(f *fixture) {
	id := f.shared()
	p := f.startScript(id, gate(5160)+"; exit 7")
	processes, codes := f.detached(), make(chan any, 8)
	for range cap(codes) {
		go func() {
			info, err := processes.WaitProcess(f.ctx, id, p.ID)
			if err != nil {
				codes <- err
				return
			}
			codes <- info.ExitCode
		}()
	}
	f.openGate(id, 5160)
	for range cap(codes) {
		f.equal("exit code", <-codes, any(7))
	}
	f.equal("exit code, a moment later", f.waitProcess(id, p.ID), 7)
}

func testProcessWaitContext(f *fixture) {
	id := f.shared()
	p := f.startScript(id, gate(5170)+"; exit 7")
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	waiting, others := f.waiting(ctx, id, p.ID), f.waiting(f.ctx, id, p.ID)
	cancel()
	f.mustBePrompt("wait", func() { f.class(<-waiting, context.Canceled) })
	f.equal("running", f.process(id, p.ID).Running, true)
	f.openGate(id, 5170)
	f.must(<-others)
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
}

// testProcessBackground: a process ends with its command, and what that has left behind goes on.
func testProcessBackground(f *fixture) {
	id := f.shared()
	p := f.startScript(id, "sleep 5180 & echo bye; exit 7")
	f.mustBePrompt("the end", func() {
		r := f.readAll(id, p.ID)
		f.equal("output", r.stdout(), "bye\n")
		f.equal("running", r.info.Running, false)
		f.equal("exit code", f.waitProcess(id, p.ID), 7)
	})
	f.awaitProcess(id, "sleep 5180")
}

// testProcessKept: who has waited for a process can look at it once more, for a moment. One that
// nobody has waited for stays, whoever has read it.
func testProcessKept(f *fixture) {
	id := f.running()
	waited, read := f.startScript(id, "echo waited; exit 7"), f.startScript(id, "echo read; exit 8")
	f.equal("output", f.readAll(id, read.ID).stdout(), "read\n")
	f.awaitEnd(id, waited.ID)
	f.equal("exit code", f.waitProcess(id, waited.ID), 7)
	f.equal("output", f.read(id, waited.ID, 0).stdout(), "waited\n")
	f.equal("exit code in the list", f.process(id, waited.ID).ExitCode, 7)

	f.poll("the process to be forgotten", func() bool { return f.findProcess(id, waited.ID) == nil })
	f.each(f.processCalls(id, waited.ID), container.ErrProcessNotFound)
	f.equal("output", f.read(id, read.ID, 0).stdout(), "read\n")
	f.equal("exit code in the list", f.process(id, read.ID).ExitCode, 8)
}

func testProcessContainerStops(f *fixture) {
	id := f.running()
	p := f.startScript(id, "echo begin; sleep 4242; true")
	ended := f.startProcess(id, "true")
	waiting, reader := f.waiting(f.ctx, id, p.ID), f.follow(f.ctx, id, p.ID, 0)
	reader.await("begin\n")
	f.awaitEnd(id, ended.ID)
	f.must(f.rt.Stop(f.ctx, id, 0))
	f.mustBePrompt("wait", func() { f.class(<-waiting, container.ErrContainerStopped) })
	f.mustBePrompt("read", func() {
		<-reader.done
		f.class(reader.err, container.ErrContainerStopped)
	})
	f.everyProcessCall(id, p.ID, container.ErrContainerStopped)

	f.must(f.rt.Start(f.ctx, id))
	f.equal("processes", len(f.listProcesses(id)), 0)
	for _, gone := range []container.ProcessInfo{p, ended} {
		f.each(f.processCalls(id, gone.ID), container.ErrProcessNotFound)
	}
	again := f.startScript(id, "echo again; exit 7")
	f.equal("output", f.readAll(id, again.ID).stdout(), "again\n")
	f.equal("exit code", f.waitProcess(id, again.ID), 7)
	if again.ID == p.ID || again.ID == ended.ID {
		f.Fatalf("two processes have the ID %s", again.ID)
	}
}

// testProcessRuntimeClose: who waits and reads ends with the Runtime, the process does not, and
// another Runtime knows it.
func testProcessRuntimeClose(f *fixture) {
	if _, ok := optional[container.Closer](f); !ok {
		return
	}
	id := f.running()
	p := f.startScript(id, "echo begin; "+gate(4242)+"; echo middle; "+gate(4243)+"; echo end; exit 7")
	waiting, reader := f.waiting(f.ctx, id, p.ID), f.follow(f.ctx, id, p.ID, 0)
	reader.await("begin\n")
	other := f.h.New(f.T, f.instance)
	f.Cleanup(func() { closeRuntime(f.T, other) })
	first := f.rt
	f.rt = other
	second := f.follow(f.ctx, id, p.ID, 0)
	second.await("begin\n")

	f.mustBePrompt("close", func() {
		closeRuntime(f.T, first)
		f.class(<-waiting, container.ErrClosed)
		<-reader.done
		f.class(reader.err, container.ErrClosed)
	})
	f.equal("running", f.process(id, p.ID).Running, true)
	f.openGate(id, 4242)
	second.await("begin\nmiddle\n")

	f.rt = f.open(f.instance)
	info := f.process(id, p.ID)
	f.equal("running", info.Running, true)
	f.equal("PID", info.PID, p.PID)
	f.equal("start", info.Started.Equal(p.Started), true)
	third := f.follow(f.ctx, id, p.ID, reader.info.Position)
	third.await("middle\n")
	f.openGate(id, 4243)
	f.equal("exit code", f.waitProcess(id, p.ID), 7)
	third.awaitEnd()
	f.equal("output", third.stdout(), "middle\nend\n")
	second.awaitEnd()
	f.equal("output for the other", second.stdout(), "begin\nmiddle\nend\n")
}
