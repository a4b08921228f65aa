// Package session owns the life of sessions: it gives each its container, keeps
// the two together through crashes and outages, and takes both away again.
//
// # Intent first
//
// The store and the engine can't change together, so every change is three steps. The
// service writes what it is about to do (Pending and Desired), asks the engine, and
// writes what came of it (Pending cleared, facts set). Whatever dies between two steps, the record
// says what was wanted, and the next reconciliation finishes it. A caller who leaves does
// not interrupt the last step.
//
// All three happen under the session's lock. Different sessions have different locks, so one whose
// engine call hangs holds up nobody else. Who waits for the lock to remove the session has whatever
// is under way given up, and who waits to stop it has a stop cut short that gives it more time.
//
// # Facts, not states
//
// The store holds what was asked for and what is known to have happened: when it
// started, how it ended, why it failed. The status that users see is computed from that and
// from what the engine reports at this moment. An engine that does not answer makes a status
// unknown; it never makes a container gone.
//
// # Creating is all or nothing
//
// A create that fails, or whose caller gives up, leaves no session: the container is removed, also
// where only its start failed, and the record closed with the reason, so that the ID is free at
// once. A create that a crash interrupted is finished by reconciliation, for nobody is left to
// tell. Where it can't be finished the session is failed and says why.
//
// # Reconciliation
//
// A pass lists the containers, then reads the sessions, in this order: as intents are written
// first, a container that was listed has its record by then. A pure function, plan, compares them.
// The executor takes each action under the session's lock, without waiting for a session that is
// being worked on, and reads record and container again before it acts: a list may be older than
// the record.
//
// What takes long is left by the pass and goes on by itself, under the session's lock: an engine
// that hangs with one container holds up nothing else.
//
// Between passes, a hint has one session looked at: an event of the engine's, an operation that
// failed. That asks the store for the record and the engine for the container, decides as a pass
// does, and acts as its executor does, so that all that holds of one session's part in a pass holds
// of a look. Passes stay the truth, and what no session owns is theirs alone: a look sees nothing
// of it and removes none of it.
//
// A session whose container is gone is failed (container_lost), and never silently made anew. One
// whose container stopped is stopped, with how it ended. A container that comes back heals its
// session.
//
// A container is removed only where all of this holds:
//
//   - the store answered that its session is closed or unknown, and does so again under the lock;
//   - its origin label is the closed session's, or the store confirms that it allotted it.
//     A store that is empty, restored from a backup, or another installation's
//     can't, and so removes nothing of what it does not know;
//   - two complete passes in a row saw it so;
//   - where its session is unknown, it is older than the grace period, and the pass would not
//     remove more than max(5, 10 %) of all containers that way.
//
// A person who has looked at a dry run can allow what the store can't confirm, and as
// many as there are. The other conditions stand; the regular passes of a running daemon have seen
// the container by then, so one allowed pass is enough.
//
// Any error of the store, or of the engine's list, ends the pass.
//
// # Limits
//
// It is known of each session when it reaches its next limit, and then it is looked at. Two looks
// that follow one another, in passes or by themselves, have to see it past the limit before
// anything is ended or removed.
//
// Limits go by the time that has passed, and not by what the clock says, which may be set. For as
// long as no daemon was there, nobody could use a session, so it was not idle, and one that grew
// old meanwhile has the grace period from the daemon's start.
//
// # Recordings
//
// Terminals of a session that asks for it are recorded, each by a goroutine of Run's that looks at
// it as a viewer which only reads, and begins at the position up to which it is recorded: an
// interruption loses nothing that the terminal still keeps. The goroutine is a guest of the
// session, as whoever works with it without its lock, but no use of it. A recording belongs to the
// session's origin. It outlives the container, and goes where the store confirms that it allotted
// the origin and has forgotten it.
package session
