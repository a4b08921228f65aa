package agentproto

// Dir is the directory of the agent in a container, which nothing else is mounted in.
const Dir = "/.octobot"

// BinDir is where the agent's binary is, on a volume that is mounted read-only.
const BinDir = Dir + "/bin"

// Binary is the agent.
const Binary = BinDir + "/octobot-agent"

// RunDir is a small file system in memory, for what an agent leaves behind in its container. Every
// user may make a directory of his own in it.
const RunDir = Dir + "/run"

// Serve is the command line by which the agent serves. home says that the environment's HOME was
// configured for the container, and holds for every user.
func Serve(home bool) []string {
	if home {
		return []string{Binary, "serve", "home"}
	}
	return []string{Binary, "serve"}
}
