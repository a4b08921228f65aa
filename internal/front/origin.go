package front

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/internal/problem"
)

// checkOrigin refuses requests that a browser was tricked into: by a name that an attacker
// made point here (DNS rebinding), or from a page of another site.
func (f *Front) checkOrigin(r *http.Request) error {
	host := hostname(r.Host)
	if !f.allowedHost(host) && !isLocalAddress(r, host) {
		return problem.New(v1.CodeHostNotAllowed, "the server is not reached under the name %q", host).
			WithHint("use localhost or 127.0.0.1, or add the name to the server's allowed hosts")
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return nil
	}
	u, err := url.Parse(origin)
	sameOrigin := err == nil && strings.EqualFold(u.Host, r.Host) && (u.Scheme == "https") == (r.TLS != nil)
	if err != nil || !sameOrigin &&
		!slices.ContainsFunc(f.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, u.Hostname()) }) {
		return problem.New(v1.CodeHostNotAllowed, "requests from pages of another origin are refused").
			WithHint("add the origin's host to the server's allowed hosts")
	}
	return nil
}

func (f *Front) allowedHost(host string) bool {
	if strings.EqualFold(host, "localhost") || strings.HasSuffix(strings.ToLower(host), ".localhost") {
		return true
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return true
	}
	return slices.ContainsFunc(f.cfg.AllowedHosts, func(h string) bool { return strings.EqualFold(h, host) })
}

// isLocalAddress reports whether host is the address that the connection came in on: no name
// was looked up, so none was rebound.
func isLocalAddress(r *http.Request, host string) bool {
	local, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return false
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap() == local.AddrPort().Addr().Unmap()
}

// hostname cuts a port off, and an IPv6 address's brackets.
func hostname(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}
