package docker

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/containerd/errdefs/pkg/errhttp"
	"github.com/moby/moby/client"
)

// The SDK hides some of what the engine says: the exit code that is null because it is
// unknown, the reason why a connection was not upgraded, the headers of a ping. The
// requests of this file go past it, through its dialer.

const maxAnswer = 1 << 20 // bytes of an answer that is read into memory

type dialer = func(context.Context) (net.Conn, error)

func rawClient(dial dialer) *http.Client {
	return &http.Client{
		CheckRedirect: client.CheckRedirect,
		Transport: &http.Transport{
			// Dial has done TLS where the engine wants it.
			DialContext:         func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
			MaxIdleConns:        idleConns,
			MaxIdleConnsPerHost: idleConns,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
	}
}

// answerError is an engine's answer that is an error.
type answerError struct {
	code  int
	words string // the engine's own; empty where it has none
}

func (e *answerError) Error() string {
	return cmp.Or(e.words, fmt.Sprintf("%d %s", e.code, http.StatusText(e.code)))
}

// Is makes the predicates of containerd/errdefs work.
func (e *answerError) Is(target error) bool { return errors.Is(errhttp.ToNative(e.code), target) }

// url gives the address of an API path that starts with a slash.
func (p *DockerProvider) url(path string, query url.Values) string {
	base := ""
	if u, err := client.ParseHostURL(p.client.DaemonHost()); err == nil {
		base = u.Path
	}
	u := url.URL{Scheme: "http", Host: client.DummyHost, Path: base + "/v" + p.client.ClientVersion() + path,
		RawQuery: query.Encode()}
	return u.String()
}

// get decodes the answer to a GET into out.
func (p *DockerProvider) get(ctx context.Context, url string, out any) (http.Header, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return nil, err
	}
	resp, err := p.raw.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, readError(resp)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil || out == nil {
		return resp.Header, err
	}
	return resp.Header, json.Unmarshal(body, out)
}

// post sends in as JSON, where the answer is of no interest.
func (p *DockerProvider) post(ctx context.Context, url string, in any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", typeJSON)
	resp, err := p.raw.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return readError(resp)
	}
	_, err = io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)) // so that the connection can be used again
	return err
}

func readError(resp *http.Response) error {
	wordsInJSON(resp)
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer)) // what can be read of it has to do
	words := strings.TrimSpace(string(body))
	if resp.Header.Get("Content-Type") == typeJSON {
		var said struct {
			Message string `json:"message"`
		}
		_ = json.Unmarshal(body, &said) // or it has no words
		words = strings.TrimSpace(said.Message)
	}
	return &answerError{code: resp.StatusCode, words: words}
}

const typeJSON = "application/json"

// wordsInJSON has the words of an answer that is an error read from JSON alone, where engines speak
// nothing else: what they say of faults of their own. Any other text is that of a proxy which did
// not reach them, and so is a page, whatever it says. It is a hook of the SDK's, which takes JSON
// of a character set for plain text.
func wordsInJSON(resp *http.Response) {
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if resp.StatusCode >= http.StatusInternalServerError ||
		resp.StatusCode >= http.StatusBadRequest && (kind == typeJSON || kind == "text/html") {
		resp.Header.Set("Content-Type", typeJSON)
	}
}

// stream is a connection that the engine has handed over to a process.
type stream struct {
	net.Conn
	r *bufio.Reader // has what came with the answer's headers
}

func (s *stream) Read(b []byte) (int, error) { return s.r.Read(b) }

// closeWrite tells the process that its input has ended.
func (s *stream) closeWrite() error {
	if half, ok := s.Conn.(client.CloseWriter); ok {
		return half.CloseWrite()
	}
	return nil
}

// hijack posts body, if it is not nil, and takes the connection over. ctx bounds the handshake
// alone; the caller closes the stream.
func (p *DockerProvider) hijack(ctx context.Context, path string, query url.Values, body any) (_ *stream, err error) {
	var encoded []byte
	if body != nil {
		if encoded, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url(path, query), bytes.NewReader(encoded))
	if err != nil {
		return nil, err
	}
	if body != nil {
		req.Header.Set("Content-Type", typeJSON)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "tcp")

	conn, err := p.client.Dialer()(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the engine: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		if !stop() && err == nil {
			err = ctx.Err()
		}
		if err != nil {
			conn.Close()
		}
	}()
	if keep, ok := conn.(*net.TCPConn); ok {
		// A quiet terminal must not be dropped by what is between us and a remote engine.
		_ = keep.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second,
			Interval: 30 * time.Second, Count: 4})
	}
	if err := req.Write(conn); err != nil {
		return nil, err
	}
	r := bufio.NewReaderSize(conn, 32<<10)
	resp, err := http.ReadResponse(r, req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusSwitchingProtocols {
		err := readError(resp)
		resp.Body.Close()
		return nil, err
	}
	return &stream{Conn: conn, r: r}, nil
}

// libpodURL gives the address of a path of Podman's own API.
func (p *DockerProvider) libpodURL(path string) string {
	return strings.Replace(p.url(path, nil), "/v"+p.client.ClientVersion()+"/", "/v4.0.0/libpod/", 1)
}

// pingURL is without a version: it is what tells the version.
func (p *DockerProvider) pingURL() string {
	return strings.Replace(p.url("/_ping", nil), "/v"+p.client.ClientVersion()+"/", "/", 1)
}
