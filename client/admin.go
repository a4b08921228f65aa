package client

import (
	"context"
	"net/http"
	"net/url"

	v1 "github.com/octobot-run/octobot/api/v1"
)

// ReconcileOptions say what a reconciliation may do.
type ReconcileOptions struct {
	DryRun        bool // change nothing, report what would be done
	AllowRemovals bool // remove unknown containers even where they are suspiciously many
	// Instance is another installation whose store is lost: with AllowRemovals, its containers on
	// the engine are removed as well.
	Instance string
}

// Reconcile compares sessions and containers now and repairs what differs. For admins.
func (c *Client) Reconcile(ctx context.Context, opts ReconcileOptions) (report v1.ReconcileReport, err error) {
	q := url.Values{}
	setBool(q, "dry_run", opts.DryRun)
	setBool(q, "allow_removals", opts.AllowRemovals)
	setString(q, "instance", opts.Instance)
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "reconcile"}, query: q}, &report)
	return report, err
}

// Diagnose has the server look at what it needs: its data directory, its store and its engine. For
// admins.
func (c *Client) Diagnose(ctx context.Context) ([]v1.Finding, error) {
	var d v1.Diagnosis
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "doctor"}}, &d)
	return d.Findings, err
}

// CreateToken makes a token and returns it with its secret, which nobody can
// ask for later. For admins.
func (c *Client) CreateToken(ctx context.Context, req v1.CreateTokenRequest) (t v1.CreatedToken, err error) {
	err = c.call(ctx, request{method: http.MethodPost, path: []string{"v1", "tokens"}, body: req}, &t)
	return t, err
}

// ListTokens returns all tokens by name. For admins.
func (c *Client) ListTokens(ctx context.Context) ([]v1.Token, error) {
	var list v1.TokenList
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "tokens"}}, &list)
	return list.Tokens, err
}

// DeleteToken removes a token; it is refused from then on. For admins.
func (c *Client) DeleteToken(ctx context.Context, name string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"v1", "tokens", name}}, nil)
}

// Info returns what the server says of itself and its engine.
func (c *Client) Info(ctx context.Context) (info v1.Info, err error) {
	err = c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "info"}}, &info)
	return info, err
}

// Ready is nil when the server, its store and its engine answer.
func (c *Client) Ready(ctx context.Context) error {
	return c.call(ctx, request{method: http.MethodGet, path: []string{"readyz"}}, nil)
}

// SetProject gives a project a quota of its own, in place of what it had. For admins.
func (c *Client) SetProject(ctx context.Context, project string, quota v1.Quota) (p v1.Project, err error) {
	err = c.call(ctx, request{method: http.MethodPut, path: []string{"v1", "projects", project}, body: quota}, &p)
	return p, err
}

// ListProjects returns the projects that the caller reaches and that have a quota of their own, a
// token or sessions, with what they use and may have.
func (c *Client) ListProjects(ctx context.Context) ([]v1.Project, error) {
	var list v1.ProjectList
	err := c.call(ctx, request{method: http.MethodGet, path: []string{"v1", "projects"}}, &list)
	return list.Projects, err
}

// DeleteProject takes a project's own quota away, so that the server's policy is its. Its sessions
// and tokens stay. For admins.
func (c *Client) DeleteProject(ctx context.Context, project string) error {
	return c.call(ctx, request{method: http.MethodDelete, path: []string{"v1", "projects", project}}, nil)
}
