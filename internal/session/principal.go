package session

// Principal is who asks. The zero value may do nothing.
type Principal struct {
	Name      string // of the token, or of the door that it came in by, for logs
	Admin     bool
	ProjectID string // the one project that it reaches, unless it is an admin; never empty then
}
