package daemon

import (
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// TestTLS serves the TCP address with a certificate: over TLS a token opens it, and without TLS
// nothing does.
func TestTLS(t *testing.T) {
	lender := httptest.NewTLSServer(nil) // its certificate is good for 127.0.0.1
	defer lender.Close()
	pair := lender.TLS.Certificates[0]
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	cfg := testConfig(t)
	dir := t.TempDir()
	cfg.TLSCert, cfg.TLSKey = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, block := range map[string]*pem.Block{
		cfg.TLSCert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]},
		cfg.TLSKey:  {Type: "PRIVATE KEY", Bytes: key},
	} {
		if err := os.WriteFile(path, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	at, _ := start(t, cfg)
	token, err := connect(t, client.Options{Socket: at.Socket}).CreateToken(t.Context(),
		v1.CreateTokenRequest{Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	get := func(url string) (int, error) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"/v1/sessions", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token.Secret)
		resp, err := lender.Client().Do(req)
		if err != nil {
			return 0, err
		}
		defer resp.Body.Close()
		return resp.StatusCode, nil
	}
	defer lender.Client().CloseIdleConnections()
	if !strings.HasPrefix(at.URL, "https://") {
		t.Errorf("it says that it serves on %s", at.URL)
	}
	if status, err := get(at.URL); err != nil || status != http.StatusOK {
		t.Errorf("over TLS: %d, %v", status, err)
	}
	if status, err := get("http" + strings.TrimPrefix(at.URL, "https")); err == nil && status < 400 {
		t.Errorf("without TLS: %d", status)
	}
}
