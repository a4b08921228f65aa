package cli

import (
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	"golang.org/x/term"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// statusLine is a line of a terminal that says what is under way. It shows nothing elsewhere.
type statusLine struct {
	out   io.Writer
	width func() int // of the terminal; nil where out is none
	shown bool
}

func newStatusLine(out io.Writer) statusLine {
	l := statusLine{out: out}
	if f, ok := out.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		l.width = func() int {
			if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
				return width
			}
			return 80
		}
	}
	return l
}

// set shows text in the place of what was shown.
func (l *statusLine) set(text string) {
	if l.width != nil {
		fmt.Fprintf(l.out, "\r\x1b[K%s", cutTo(text, l.width()-1))
		l.shown = true
	}
}

// clear leaves an empty line.
func (l *statusLine) clear() {
	if l.shown {
		fmt.Fprint(l.out, "\r\x1b[K")
		l.shown = false
	}
}

// progress shows how an image's pull gets on: in one line that changes on a
// terminal, else in one line at the beginning and one for each layer that is there.
type progress struct {
	statusLine
	layers map[string]v1.Progress
	begun  bool
}

func newProgress(out io.Writer) *progress {
	return &progress{statusLine: newStatusLine(out), layers: map[string]v1.Progress{}}
}

// show is told of a step.
func (p *progress) show(step v1.Progress) {
	if !p.begun && p.width == nil {
		fmt.Fprintf(p.out, "pulling %s\n", oneLine(step.Image))
	}
	p.begun = true
	if step.Layer != "" {
		old, known := p.layers[step.Layer]
		p.layers[step.Layer] = keepSizes(old, step)
		if p.width == nil && done(step) && !(known && done(old)) {
			fmt.Fprintf(p.out, "%s: %s\n", oneLine(step.Layer), oneLine(step.Status))
		}
	}
	p.set(p.line(step))
}

// keepSizes remembers what a layer's size was once it is no longer told.
func keepSizes(old, step v1.Progress) v1.Progress {
	if step.Total == 0 {
		step.Total = old.Total
		if done(step) {
			step.Current = old.Total
		}
	}
	return step
}

func done(step v1.Progress) bool {
	return step.Status == "Pull complete" || step.Status == "Already exists"
}

func (p *progress) line(step v1.Progress) string {
	line := "pulling " + oneLine(step.Image)
	if len(p.layers) == 0 {
		return line + ": " + oneLine(step.Status)
	}
	complete, current, total := 0, int64(0), int64(0)
	for _, l := range p.layers {
		if done(l) {
			complete++
		}
		current, total = current+l.Current, total+l.Total
	}
	line += fmt.Sprintf(": %d of %s", complete, plural(int64(len(p.layers)), "layer"))
	if total > 0 {
		line += fmt.Sprintf(", %s of %s", formatSize(min(current, total)), formatSize(total))
	}
	return line
}

func cutTo(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:max(width, 0)])
}
