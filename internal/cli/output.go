package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// outputFlag adds -o to a command; "" is the form for people.
func outputFlag(cmd *cobra.Command, forms ...string) *string {
	v := &formValue{forms: forms}
	cmd.Flags().VarP(v, "output", "o", "print as `"+strings.Join(forms, "|")+"`")
	complete(cmd, "output", forms...)
	return &v.form
}

type formValue struct {
	form  string
	forms []string
}

func (v *formValue) String() string { return v.form }
func (v *formValue) Type() string   { return "form" }

func (v *formValue) Set(s string) error {
	if !slices.Contains(v.forms, s) {
		return fmt.Errorf("allowed: %s", strings.Join(v.forms, ", "))
	}
	v.form = s
	return nil
}

// warn tells of something that is no error.
func (a *app) warn(format string, args ...any) {
	fmt.Fprintf(a.stderr, "octobot: warning: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// printJSON prints v with indentation.
func (a *app) printJSON(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "    ")
	return enc.Encode(v)
}

// printLine prints v as one line of JSON, for streams.
func (a *app) printLine(v any) error {
	enc := json.NewEncoder(a.stdout)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// table prints rows under a header, with columns as wide as they must be.
func table(w io.Writer, header string, rows [][]string) error {
	tw := tabwriter.NewWriter(w, 0, 8, 3, ' ', 0)
	fmt.Fprintln(tw, strings.ReplaceAll(header, ",", "\t"))
	for _, row := range rows {
		for i := range row {
			row[i] = oneLine(row[i])
		}
		fmt.Fprintln(tw, strings.Join(row, "\t"))
	}
	return tw.Flush()
}

// formatAge says how long ago t was, roughly; "-" for the zero time.
func formatAge(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return roughly(time.Since(t)) + " ago"
}

// roughly gives a duration in its largest unit.
func roughly(d time.Duration) string {
	for _, u := range []struct {
		name string
		size time.Duration
		from time.Duration // shorter ones are given in a smaller unit
	}{
		{"day", 24 * time.Hour, 48 * time.Hour},
		{"hour", time.Hour, 90 * time.Minute},
		{"minute", time.Minute, 90 * time.Second},
	} {
		if d >= u.from {
			return plural(int64(d/u.size), u.name)
		}
	}
	return plural(int64(max(d, 0)/time.Second), "second")
}

func plural(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// formatSize gives bytes for people.
func formatSize(n int64) string {
	switch {
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	case n >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20))
	case n >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(n)/(1<<10))
	default:
		return fmt.Sprintf("%d B", n)
	}
}
