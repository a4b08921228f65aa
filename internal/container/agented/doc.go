// Package agented puts Octobot's agent into the containers of any [container.Runtime] that can
// bring programs into them, and runs commands through it, in about a millisecond each instead of an
// engine's fifty. Where the agent can't work, the wrapped Runtime's own ways are used, and callers
// can't tell but by speed.
//
// The container's main process is what it is without us. The agent is a process that the engine's
// exec starts, once, and whose standard input and output become a connection that carries all
// commands of the session: a link. Links are made right after a container's start or on first use,
// closed when idle, and made anew when they were cut. A link's end is its agent's, which kills the
// commands that were under way over it.
//
// A command runs once or fails. It goes to the engine only where it is certain that no agent has
// seen it.
package agented
