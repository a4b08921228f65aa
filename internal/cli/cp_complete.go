package cli

import (
	"context"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	v1 "github.com/octobot-run/octobot/api/v1"
)

const (
	// completeWithin is how long a shell's user is kept waiting for the names in a session's
	// directory.
	completeWithin = 3 * time.Second
	completeMost   = 1000

	completeOn = cobra.ShellCompDirectiveNoSpace | cobra.ShellCompDirectiveNoFileComp
)

// completeCopy offers sessions, or files here where those were meant, and behind "ID:" the
// session's files.
func (a *app) completeCopy(
	cmd *cobra.Command, named []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(named) > 1 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	if len(named) == 1 {
		if id, _ := splitSession(named[0]); id != "" {
			return nil, cobra.ShellCompDirectiveDefault // the destination is here
		}
	}
	if strings.ContainsAny(prefix, "~") || strings.HasPrefix(prefix, "/") || strings.HasPrefix(prefix, ".") ||
		strings.Contains(prefix, "/") && !strings.Contains(prefix, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	offers, directive := a.completeSessionFiles(cmd, nil, prefix)
	if len(offers) == 0 && !strings.Contains(prefix, ":") {
		return nil, cobra.ShellCompDirectiveDefault
	}
	return offers, directive
}

// completeSessionFiles offers "ID:", and behind that the session's files.
func (a *app) completeSessionFiles(
	cmd *cobra.Command, _ []string, prefix string,
) ([]cobra.Completion, cobra.ShellCompDirective) {
	if id, p := splitSession(prefix); id != "" {
		return a.completeFiles(cmd.Context(), id, p)
	}
	sessions, directive := a.completeSessions(cmd, nil, prefix)
	if directive == cobra.ShellCompDirectiveError {
		return nil, directive
	}
	var offers []cobra.Completion
	for _, offer := range sessions {
		id, status, _ := strings.Cut(offer, "\t")
		if strings.HasPrefix(id, prefix) {
			offers = append(offers, cobra.CompletionWithDesc(id+":", status))
		}
	}
	return offers, completeOn
}

// completeFiles offers what is in a session's directory.
func (a *app) completeFiles(ctx context.Context, id, p string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if p == "" {
		return []cobra.Completion{id + ":/"}, completeOn
	}
	ctx, cancel := context.WithTimeout(ctx, completeWithin)
	defer cancel()
	connected, err := a.connect()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	cut := strings.LastIndexByte(p, '/') + 1
	dir, base := p[:cut], p[cut:]
	entries, err := connected.ListFiles(ctx, id, inSession(dir), "")
	if err != nil {
		return nil, completeOn
	}
	var offers []cobra.Completion
	for _, e := range entries {
		hidden := strings.HasPrefix(e.Name, ".") && !strings.HasPrefix(base, ".")
		if hidden || !strings.HasPrefix(e.Name, base) || e.RawName != nil || !isPlain(e.Name) {
			continue
		}
		offer := id + ":" + dir + e.Name
		if e.Type == v1.FileDirectory {
			offer += "/"
		}
		if offers = append(offers, offer); len(offers) == completeMost {
			break
		}
	}
	return offers, completeOn
}

// isPlain reports whether a name means itself to a shell. Those of a session are anybody's, and
// shells' completions expand words: one like $(command) would run here.
func isPlain(name string) bool {
	for _, r := range name {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("._-+,@%=", r) {
			return false
		}
	}
	return name != ""
}
