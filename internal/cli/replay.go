package cli

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func (a *app) replayCommand() *cobra.Command {
	var speed float64
	var idleLimit time.Duration
	var list, raw bool
	cmd := &cobra.Command{
		Use:   "replay [flags] ID [RECORDING]",
		Short: "Play what was recorded of a session's terminals",
		Long: `Play what was recorded of a terminal of a session that was created with --record, on your own terminal and as fast as it
was written. RECORDING is a terminal's name, of which the latest is played, or a terminal's ID; without one it is the only
recording there is, or the latest of the terminal main. Recordings are kept as long as the session's record: for a while
after octobot rm.

Ctrl-C ends. What would make your terminal answer, ring or copy is left out. --raw writes the recording itself, an
asciicast, for asciinema and its like: they leave nothing out.`,
		Example: `  octobot replay demo
  octobot replay --speed 2 --idle-limit 1s demo build
  octobot replay --list demo
  octobot replay --raw demo > demo.cast`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return usageError(cmd, "name one session, and at most one recording")
			}
			return nil
		},
		ValidArgsFunction: a.completeRecording,
	}
	flags := cmd.Flags()
	flags.Float64Var(&speed, "speed", 1, "play so many `times` as fast")
	flags.DurationVar(&idleLimit, "idle-limit", 0, "wait no longer than a `duration` between two events; 0: no limit")
	flags.BoolVar(&list, "list", false, "list the recordings instead")
	flags.BoolVar(&raw, "raw", false, "write the recording to stdout as it is")
	cmd.MarkFlagsMutuallyExclusive("list", "raw")
	output := outputFlag(cmd, "json")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		switch {
		case !(speed > 0):
			return usageError(cmd, "--speed %v is not more than 0", speed)
		case idleLimit < 0:
			return usageError(cmd, "--idle-limit %v is negative", idleLimit)
		case *output != "" && !list:
			return usageError(cmd, "-o is for --list")
		case list && len(args) > 1:
			return usageError(cmd, "--list takes no recording")
		}
		recordings, err := a.recordings(cmd.Context(), args[0])
		if err != nil {
			return fmt.Errorf("replay %s: %w", args[0], err)
		}
		if list {
			return a.printRecordings(args[0], recordings, *output)
		}
		r, err := pickRecording(recordings, args[1:])
		if err == nil {
			err = a.replay(cmd.Context(), args[0], r, raw, speed, idleLimit)
		}
		if err != nil {
			return fmt.Errorf("replay %s: %w", args[0], err)
		}
		return nil
	}
	return cmd
}

func (a *app) recordings(ctx context.Context, id string) ([]v1.Recording, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	return c.ListRecordings(ctx, id)
}

// pickRecording finds the one that is meant; the oldest are first.
func pickRecording(list []v1.Recording, named []string) (v1.Recording, error) {
	latest := func(is func(v1.Recording) bool) (v1.Recording, bool) {
		for _, r := range slices.Backward(list) {
			if is(r) {
				return r, true
			}
		}
		return v1.Recording{}, false
	}
	if len(named) > 0 {
		if r, ok := latest(func(r v1.Recording) bool { return r.TerminalID == named[0] }); ok {
			return r, nil
		}
		if r, ok := latest(func(r v1.Recording) bool { return r.Terminal == named[0] }); ok {
			return r, nil
		}
		return v1.Recording{}, fmt.Errorf("there is no recording of %q; octobot replay --list shows those that there are",
			named[0])
	}
	if len(list) == 1 {
		return list[0], nil
	}
	if r, ok := latest(func(r v1.Recording) bool { return r.Terminal == mainTerminal }); ok {
		return r, nil
	}
	if len(list) == 0 {
		return v1.Recording{}, fmt.Errorf("nothing is recorded of it; octobot create --record makes a session whose terminals are")
	}
	return v1.Recording{}, fmt.Errorf("there are %d recordings, and none of the terminal %q; name one of octobot replay --list",
		len(list), mainTerminal)
}

func (a *app) printRecordings(id string, list []v1.Recording, format string) error {
	if format == "json" {
		if list == nil {
			list = []v1.Recording{}
		}
		return a.printJSON(list)
	}
	rows := make([][]string, len(list))
	for i, r := range list {
		rows[i] = []string{r.Terminal, r.TerminalID, formatAge(r.StartedAt),
			time.Duration(r.Seconds * float64(time.Second)).Round(time.Second).String(), formatSize(r.Bytes),
			recordingState(r)}
	}
	if err := table(a.stdout, "TERMINAL,ID,STARTED,DURATION,SIZE,STATUS", rows); err != nil {
		return err
	}
	if len(list) == 0 {
		fmt.Fprintf(a.stderr, "Nothing is recorded of %s.\n", id)
	}
	return nil
}

// recordingState is how a recording is, in words.
func recordingState(r v1.Recording) string {
	state := "recording"
	switch {
	case r.Full:
		state = "full"
	case r.Ended:
		state = "ended"
	}
	if r.Missed > 0 {
		state += ", " + plural(r.Missed, "byte") + " missed"
	}
	return state
}

// replay writes a recording to stdout, as it is or as it was shown.
func (a *app) replay(
	ctx context.Context, id string, r v1.Recording, raw bool, speed float64, idleLimit time.Duration,
) error {
	cast, err := a.client.ReadRecording(ctx, id, r.TerminalID)
	if err != nil {
		return err
	}
	defer func() { _ = cast.Close() }() // it was only read
	if raw {
		_, err := io.Copy(a.stdout, cast)
		return err
	}
	p := player{app: a, speed: speed, idleLimit: idleLimit}
	return p.play(ctx, cast)
}

// completeRecording offers sessions, then the recordings of the one that is named.
func (a *app) completeRecording(
	cmd *cobra.Command, named []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) != 1 {
		return a.completeSession(cmd, named, prefix)
	}
	list, err := a.recordings(cmd.Context(), named[0])
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var offers []cobra.Completion
	for _, r := range list {
		offers = append(offers, cobra.CompletionWithDesc(r.TerminalID, r.Terminal+", "+recordingState(r)))
	}
	return offers, cobra.ShellCompDirectiveNoFileComp
}
