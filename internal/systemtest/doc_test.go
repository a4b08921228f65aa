// Package systemtest holds tests of the built binary on real engines and stores that
// are killed, filled and taken away under it. What they claim in the end is asked of the engine
// and of the database, not of Octobot.
package systemtest
