// Package client talks to an Octobot server: over its Unix socket, or over TCP with a token.
//
//	c, err := client.New(client.Options{Socket: "/var/lib/octobot/octobot.sock"})
//	…
//	s, err := c.CreateSession(ctx, v1.CreateSessionRequest{}, nil)
//
// A Client may be used from many goroutines. Every method ends when its ctx does. What the
// server refuses comes back as [*Error], with a stable code; a server that can't be
// reached as [*UnreachableError].
package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options say where the server is. One of URL and Socket is required.
type Options struct {
	// URL is the server's address: "http://127.0.0.1:7080", "https://octobot.example", or
	// "unix:///var/lib/octobot/octobot.sock".
	URL string
	// Socket is the path of the server's Unix socket; it wins over URL.
	Socket string
	// Token is the bearer token; none is needed on the socket.
	Token string
}

// Client is a connection to a server. Make one with [New].
type Client struct {
	http    *http.Client
	base    string // without a slash at its end
	address string // for people
	token   string
}

// New makes a client. It does not connect yet.
func New(opts Options) (*Client, error) {
	transport := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		DialContext:         (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: 10 * time.Second,
		MaxIdleConnsPerHost: 64,
		IdleConnTimeout:     90 * time.Second,
	}
	c := &Client{token: opts.Token, http: &http.Client{
		Transport: transport,
		// The API never redirects; whatever does must not be given the token.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	socket := opts.Socket
	if path, ok := strings.CutPrefix(opts.URL, "unix://"); ok && socket == "" {
		socket = path
	}
	if socket != "" {
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		}
		c.base, c.address = "http://octobot", "unix://"+socket
		return c, nil
	}
	u, err := url.Parse(opts.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, fmt.Errorf("octobot client: %q is not a URL such as http://127.0.0.1:7080 or unix:///path/octobot.sock", opts.URL)
	}
	c.base = strings.TrimSuffix(opts.URL, "/")
	c.address = c.base
	return c, nil
}

// Address is where the server is, for people: a URL, or unix:// and a path.
func (c *Client) Address() string { return c.address }

// Close drops idle connections. Calls under way go on.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one call of the API.
type request struct {
	method string
	path   []string // elements, escaped when they are joined
	query  url.Values
	body   any    // sent as JSON unless nil
	accept string // empty: JSON
	header http.Header

	// What is sent instead of a body.
	raw     io.Reader
	rawType string
	size    int64 // of raw; 0: not known
}

// call does a request and reads the JSON answer into out, unless that is nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	resp, err := c.send(ctx, r)
	if err != nil {
		return err
	}
	defer drain(resp.Body)
	if out == nil {
		return nil
	}
	body := &io.LimitedReader{R: resp.Body, N: maxAnswer}
	if err := json.NewDecoder(body).Decode(out); err != nil {
		if body.N <= 0 {
			err = fmt.Errorf("the answer is longer than %d MiB, which is more than is kept in memory", maxAnswer>>20)
		}
		return c.failed(ctx, r, err)
	}
	return nil
}

// maxAnswer bounds what is kept in memory of an answer: a list of files is as long as somebody in
// the session likes. A million of them, with names of usual lengths, are less.
var maxAnswer int64 = 256 << 20

// send does a request and returns the answer, which is a success. The caller closes its body.
func (c *Client) send(ctx context.Context, r request) (*http.Response, error) {
	body := r.raw
	if r.body != nil {
		b, err := encode(r.body)
		if err != nil {
			return nil, c.failed(ctx, r, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.url(r), body)
	if err != nil {
		return nil, c.failed(ctx, r, err)
	}
	req.Header = c.header()
	maps.Copy(req.Header, r.header)
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.raw != nil {
		req.Header.Set("Content-Type", r.rawType)
		req.ContentLength = cmp.Or(r.size, -1)
	}
	if r.accept != "" {
		req.Header.Set("Accept", r.accept)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.failed(ctx, r, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer drain(resp.Body)
		return nil, readProblem(resp)
	}
	return resp, nil
}

// encode gives the JSON of what is asked. Text that is not UTF-8 is refused: JSON would carry
// something else in its place.
func encode(v any) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	const replaced = `\ufffd` // the character itself is not escaped
	for from := 0; ; {
		i := bytes.Index(b[from:], []byte(replaced))
		if i < 0 {
			return b, nil
		}
		i += from
		if escapes := i - len(bytes.TrimRight(b[:i], `\`)); escapes%2 == 0 {
			return nil, errors.New("what is asked has text that is not UTF-8")
		}
		from = i + len(replaced)
	}
}

func (c *Client) url(r request) string {
	var b strings.Builder
	b.WriteString(c.base)
	for _, element := range r.path {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(element))
	}
	if len(r.query) > 0 {
		b.WriteByte('?')
		b.WriteString(r.query.Encode())
	}
	return b.String()
}

func (c *Client) header() http.Header {
	h := http.Header{}
	if c.token != "" {
		h.Set("Authorization", "Bearer "+c.token)
	}
	return h
}

// failed turns trouble on the way into an error of this package. A ctx that has
// ended is the trouble then, whatever it broke.
func (c *Client) failed(ctx context.Context, r request, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s /%s: %w", r.method, strings.Join(r.path, "/"), causeInWords(ctx))
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err // its text holds the whole URL
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return &UnreachableError{Address: c.address, Err: inWords(op.Err)}
	}
	return fmt.Errorf("%s /%s: %w", r.method, strings.Join(r.path, "/"), inWords(err))
}

// drain reads the little that may be left, so that the connection can be used again.
func drain(body io.ReadCloser) {
	_, _ = io.CopyN(io.Discard, body, 64<<10)
	_ = body.Close()
}
