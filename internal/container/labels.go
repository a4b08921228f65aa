package container

import (
	"crypto/sha256"
	"encoding/hex"
)

// Labels that Octobot puts on its containers, and on nothing that is not its own.
const (
	LabelOctobot  = "octobot"          // always "true"
	LabelSession  = "octobot.session"  // the session's ID
	LabelProject  = "octobot.project"  // the project's ID; empty where there is none
	LabelInstance = "octobot.instance" // the installation that owns it
	LabelOrigin   = "octobot.origin"   // Options.Origin; absent where that is empty
	LabelProgram  = "octobot.program"  // ProgramHash of its Options.Program; absent where it has none
)

// LabelPrefix is reserved: callers' labels must not start with it.
const LabelPrefix = "octobot"

// ProgramHash tells a [Program]'s binary from others: the first 12 hexadecimal digits of its
// SHA-256.
func ProgramHash(binary []byte) string {
	sum := sha256.Sum256(binary)
	return hex.EncodeToString(sum[:6])
}

// Name is the name of a session's container.
func Name(sessionID string) string { return "octobot-session-" + sessionID }

// Labels returns the labels of a session's container: Octobot's and the caller's.
func Labels(instance, sessionID string, opts Options) map[string]string {
	labels := make(map[string]string, len(opts.Labels)+5)
	for k, v := range opts.Labels {
		labels[k] = v
	}
	labels[LabelOctobot] = "true"
	labels[LabelSession] = sessionID
	labels[LabelProject] = opts.ProjectID
	labels[LabelInstance] = instance
	if opts.Origin != "" {
		labels[LabelOrigin] = opts.Origin
	}
	return labels
}
