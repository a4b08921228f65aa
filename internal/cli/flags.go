package cli

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// durationValue is a flag of a duration, which is read as the API and the configuration do.
type durationValue struct{ pflag.Value }

func (v durationValue) Set(s string) error {
	d, err := v1.ParseDuration(s)
	if err != nil {
		return err
	}
	return v.Value.Set(d.String())
}

// readDurations has every flag of a duration, of the command and of those below it, read as such.
func readDurations(cmd *cobra.Command) {
	for _, flags := range []*pflag.FlagSet{cmd.Flags(), cmd.PersistentFlags()} {
		flags.VisitAll(func(f *pflag.Flag) {
			if _, done := f.Value.(durationValue); !done && f.Value.Type() == "duration" {
				f.Value = durationValue{f.Value}
				if f.DefValue == "0s" {
					f.DefValue = "" // nothing to show
				}
			}
		})
	}
	for _, c := range cmd.Commands() {
		readDurations(c)
	}
}

// flagError says what is wrong with a command's flags. What the flag's type takes is said here,
// since the packages that read values speak to programmers.
func flagError(cmd *cobra.Command, err error) error {
	e, ok := errors.AsType[*pflag.InvalidValueError](err)
	if !ok {
		return usageError(cmd, "%v", err)
	}
	f, why := e.GetFlag(), ""
	switch f.Value.Type() {
	case "int", "int64", "count":
		why = "a whole number"
		if errors.Is(err, strconv.ErrRange) {
			why = "a whole number of that size"
		}
	case "uint", "uint16", "uint32", "uint64":
		why = "a whole number from 0 on"
	case "float64":
		why = "a number such as 1.5"
	case "bool":
		why = "true or false"
	case "duration":
		why = "a duration such as 30s, 1h30m or 7d"
	case "stringSlice":
		why = "a list with commas"
	default: // its own words
		return usageError(cmd, "--%s %q: %s", f.Name, e.GetValue(),
			strings.TrimPrefix(errors.Unwrap(e).Error(), fmt.Sprintf("%q ", e.GetValue())))
	}
	return usageError(cmd, "--%s %q is not %s", f.Name, e.GetValue(), why)
}

// takesBytes are the commands, and localFlags the flags, whose values are not the daemon's to know,
// or names of files, which may be any bytes.
var (
	takesBytes = []string{"cp", "files", "forward", "serve", "doctor"}
	localFlags = []string{"data-dir", "config", "env-file", "url"}
)

// checkText refuses what is not UTF-8 of a command line: JSON can't carry it.
func checkText(cmd *cobra.Command, args []string) error {
	for c := cmd; c != nil; c = c.Parent() {
		if slices.Contains(takesBytes, c.Name()) {
			return nil
		}
	}
	refuse := func(what, text string) error {
		return cmd.FlagErrorFunc()(cmd, fmt.Errorf("%s %q is not UTF-8", what, text))
	}
	for _, arg := range args {
		if !utf8.ValidString(arg) {
			return refuse("argument", arg)
		}
	}
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if text := f.Value.String(); err == nil && !utf8.ValidString(text) && !slices.Contains(localFlags, f.Name) {
			err = refuse("--"+f.Name, text)
		}
	})
	return err
}
