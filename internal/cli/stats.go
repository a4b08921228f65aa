package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// statsInterval is the time between two samples, over which CPU use is measured.
const statsInterval = time.Second

func (a *app) statsCommand() *cobra.Command {
	var noStream bool
	cmd := &cobra.Command{
		Use:   "stats [flags] [ID...]",
		Short: "Show how much CPU, memory, network and block I/O sessions use",
		Long: `Show how much CPU, memory, network and block I/O sessions use: the named ones, or all that run.

On a terminal the figures are renewed every second until Ctrl-C. Elsewhere, and with --no-stream, -o or --format, they
are printed once, after the second that it takes to measure CPU use. 100% is one core. What is sent, received, read and
written is counted from a session's last start.

` + formatHelp,
		Example: `  octobot stats
  octobot stats --no-stream demo
  octobot stats -o json | jq -r '.[] | select(.cpu_percent > 50) | .session_id'`,
		ValidArgsFunction: a.completeSessions,
	}
	cmd.Flags().BoolVar(&noStream, "no-stream", false, "print once, also on a terminal")
	output := outputFlag(cmd, "json")
	format := formatFlag[sessionUse](cmd)
	cmd.RunE = func(cmd *cobra.Command, ids []string) error {
		if err := oneOf(cmd, "format", "output"); err != nil {
			return err
		}
		c, err := a.connect()
		if err != nil {
			return err
		}
		m := &meter{client: c, list: a.listSessions, ids: ids}
		if screen := terminalOf(nil, a.stdout); screen.out != nil && !noStream && *output == "" && !format.given() {
			return a.watchStats(cmd.Context(), m, screen)
		}
		return a.printStats(cmd.Context(), m, *output, format)
	}
	return cmd
}

// printStats prints the use of those sessions that tell it, and returns the errors of the others.
func (a *app) printStats(ctx context.Context, m *meter, output string, format *format) error {
	uses, err := m.measure(ctx)
	if err == nil && anyMeasured(uses) {
		if err := sleep(ctx, statsInterval); err != nil {
			return err
		}
		uses, err = m.measure(ctx)
	}
	if err != nil {
		return err
	}
	measured, errs := []sessionUse{}, []error(nil)
	for _, u := range uses {
		if u.err != nil {
			errs = append(errs, u.err)
		} else {
			measured = append(measured, u)
		}
	}
	switch {
	case format.given():
		err = printFormatted(a, format, measured...)
	case output == "json":
		err = a.printJSON(measured)
	default:
		err = table(a.stdout, statsHeader, statsRows(measured))
	}
	return errors.Join(append([]error{err}, errs...)...)
}

// watchStats shows the use of sessions and renews it until ctx ends. A named session that does not
// run may do so later; every other error ends it.
func (a *app) watchStats(ctx context.Context, m *meter, screen *terminal) error {
	ticker := time.NewTicker(statsInterval)
	defer ticker.Stop()
	wipe := "\x1b[2J"
	for {
		uses, err := m.measure(ctx)
		if err != nil {
			return err
		}
		for _, u := range uses {
			if u.err != nil && client.CodeOf(u.err) != v1.CodeSessionNotRunning {
				return u.err
			}
		}
		var text bytes.Buffer
		if err := table(&text, statsHeader, statsRows(uses)); err != nil {
			return err
		}
		rows, cols := screen.size()
		if _, err := fmt.Fprint(a.stdout, wipe+frame(text.String(), int(rows), int(cols))); err != nil {
			return err
		}
		wipe = ""
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-ticker.C:
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

// frame gives what replaces the text on a terminal of that size, zeroes for one of unknown size. A
// line that the terminal would wrap, or scroll for, would shift all that follow.
func frame(text string, rows, cols int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if most := rows - 1; rows > 0 && len(lines) > most { // the cursor has the last one
		shown := max(most-1, 0)
		lines = append(lines[:shown:shown], fmt.Sprintf("and %d more", len(lines)-shown))
	}
	var b strings.Builder
	b.WriteString("\x1b[H")
	for _, line := range lines {
		if cols > 0 {
			line = cutTo(line, cols-1) // behind a full line, erasing its rest takes its end
		}
		b.WriteString(line + "\x1b[K\n")
	}
	b.WriteString("\x1b[J")
	return b.String()
}

// sessionUse is a sample of a session, and what came of its comparison with the one before.
type sessionUse struct {
	v1.SessionStats
	CPUPercent *float64 `json:"cpu_percent,omitempty"` // of one core; nil without a sample before
	err        error    // why there is no sample
}

func anyMeasured(uses []sessionUse) bool {
	for _, u := range uses {
		if u.err == nil {
			return true
		}
	}
	return false
}

// meter takes samples of sessions, again and again.
type meter struct {
	client *client.Client
	list   func(context.Context, client.ListOptions) ([]v1.Session, error)
	ids    []string                   // none: all that run
	last   map[string]v1.SessionStats // by session
}

// samplesAtOnce bounds how many sessions are asked about at the same time.
const samplesAtOnce = 16

// measure takes a sample of every session. Where none is named, one that has ended meanwhile is
// left out.
func (m *meter) measure(ctx context.Context) ([]sessionUse, error) {
	ids := m.ids
	if len(m.ids) == 0 {
		// What an engine does not tell about may run; to leave it out would say that it does not.
		running, err := m.list(ctx, client.ListOptions{Statuses: []v1.Status{v1.StatusRunning, v1.StatusUnknown}})
		if err != nil {
			return nil, fmt.Errorf("stats: %w", err)
		}
		for _, s := range running {
			ids = append(ids, s.ID)
		}
	}
	uses := make([]sessionUse, len(ids))
	free := make(chan struct{}, samplesAtOnce)
	var sampling sync.WaitGroup
	for i, id := range ids {
		free <- struct{}{}
		sampling.Go(func() {
			defer func() { <-free }()
			stats, err := m.client.SessionStats(ctx, id)
			if err != nil {
				stats.SessionID, err = id, fmt.Errorf("stats %s: %w", id, err)
			}
			uses[i] = sessionUse{SessionStats: stats, err: err}
		})
	}
	sampling.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	before := m.last
	m.last = make(map[string]v1.SessionStats, len(uses))
	kept := uses[:0]
	for _, u := range uses {
		switch {
		case u.err == nil:
			if old, ok := before[u.SessionID]; ok {
				u.CPUPercent = cpuPercent(old, u.SessionStats)
			}
			m.last[u.SessionID] = u.SessionStats
		case len(m.ids) == 0 && hasEnded(u.err):
			continue
		}
		kept = append(kept, u)
	}
	return kept, nil
}

// hasEnded reports whether the error says that the session runs no more.
func hasEnded(err error) bool {
	switch client.CodeOf(err) {
	case v1.CodeSessionNotRunning, v1.CodeSessionNotFound, v1.CodeSessionClosed, v1.CodeContainerLost:
		return true
	}
	return false
}

// cpuPercent gives the use of CPU between two samples; nil where they are none of one run.
func cpuPercent(old, s v1.SessionStats) *float64 {
	elapsed, used := s.Time.Sub(old.Time), s.CPUTime-old.CPUTime
	if elapsed <= 0 || used < 0 {
		return nil
	}
	percent := 100 * float64(used) / float64(elapsed)
	return &percent
}

const statsHeader = "SESSION,CPU %,MEM USAGE / LIMIT,MEM %,NET I/O,BLOCK I/O,PIDS"

func statsRows(uses []sessionUse) [][]string {
	rows := make([][]string, len(uses))
	for i, u := range uses {
		if u.err != nil {
			rows[i] = []string{u.SessionID, "-", "- / -", "-", "- / -", "- / -", "-"}
			continue
		}
		cpu, limit, memory := "-", "-", "-"
		if u.CPUPercent != nil {
			cpu = fmt.Sprintf("%.2f%%", *u.CPUPercent)
		}
		if u.MemoryLimit > 0 {
			limit = formatSize(u.MemoryLimit)
			memory = fmt.Sprintf("%.2f%%", 100*float64(u.MemoryUsed)/float64(u.MemoryLimit))
		}
		rows[i] = []string{u.SessionID, cpu, formatSize(u.MemoryUsed) + " / " + limit, memory,
			formatSize(u.NetworkReceived) + " / " + formatSize(u.NetworkSent),
			formatSize(u.BlockRead) + " / " + formatSize(u.BlockWritten), fmt.Sprint(u.PIDs)}
	}
	return rows
}
