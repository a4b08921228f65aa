package session

// Principal is who asks for something. Whatever door a request comes in by, it finds out who it is;
// what that one may do is decided here, beside the records. The zero value reaches nothing.
type Principal struct {
	Name      string // of the token, or of the door where that says enough; for logs
	Admin     bool   // reaches everything
	ProjectID string // the one project that it reaches, unless it is an admin
	Address   string // where it calls from, for the audit; may be empty
}

// RequireAdmin refuses everybody else: forbidden.
func (p Principal) RequireAdmin() error {
	if p.Admin {
		return nil
	}
	return refuse(CodeForbidden, "use the server's Unix socket or an admin's token",
		"that is for admins, and this token reaches one project only")
}

// reaches reports whether p may know of a session. One that it may not is, for p, one that does not
// exist: the same error, after the same calls.
func (p Principal) reaches(sess Session) bool {
	return p.Admin || p.ProjectID != "" && sess.ProjectID == p.ProjectID
}

// scope returns the project that a request names, of those that p reaches: empty for all of them.
func (p Principal) scope(projectID string) (string, error) {
	switch {
	case p.Admin || p.ProjectID != "" && projectID == p.ProjectID:
		return projectID, nil
	case p.ProjectID == "":
		return "", refuse(CodeForbidden, "", "the caller reaches no project")
	case projectID == "":
		return p.ProjectID, nil
	}
	return "", refuse(CodeForbidden, "", "this token reaches the project %q only", p.ProjectID)
}
