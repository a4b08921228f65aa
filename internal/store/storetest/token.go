package storetest

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

var tokenTests = map[string]func(*testing.T, Database){
	"tokens": on(testTokens),
}

func testTokens(t *testing.T, s session.Store) {
	if all, err := s.ListTokens(t.Context()); err != nil || len(all) != 0 {
		t.Fatalf("an empty store has %v, %v", all, err)
	}
	hash := func(b byte) []byte { return append(bytes.Repeat([]byte{b}, 30), 0, 0xff) }
	admin := session.Token{Name: "b-admin", Hash: hash(1), CreatedAt: start}
	scoped := session.Token{Name: "a", Hash: hash(2), ProjectID: "p", CreatedAt: start, ExpiresAt: start.Add(time.Hour)}
	upper := session.Token{Name: "B", Hash: hash(3), CreatedAt: start.Add(999).In(time.FixedZone("", 3600))}
	for _, token := range []session.Token{admin, scoped, upper} {
		if err := s.CreateToken(t.Context(), token); err != nil {
			t.Fatal(err)
		}
	}
	upper.CreatedAt = start

	twin := session.Token{Name: admin.Name, Hash: hash(4), CreatedAt: start}
	wantError(t, s.CreateToken(t.Context(), twin), session.ErrExists)

	for _, want := range []session.Token{admin, scoped, upper} {
		if got, err := s.TokenByHash(t.Context(), want.Hash); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, %v; want %+v", got, err, want)
		}
	}
	for _, unknown := range [][]byte{nil, {}, twin.Hash, admin.Hash[:31]} {
		_, err := s.TokenByHash(t.Context(), unknown)
		wantError(t, err, session.ErrNotFound)
	}
	if got, err := s.ListTokens(t.Context()); err != nil ||
		!reflect.DeepEqual(got, []session.Token{upper, scoped, admin}) {
		t.Errorf("list gave %+v, %v", got, err)
	}

	if err := s.DeleteToken(t.Context(), admin.Name); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.DeleteToken(t.Context(), admin.Name), session.ErrNotFound)
	_, err := s.TokenByHash(t.Context(), admin.Hash)
	wantError(t, err, session.ErrNotFound)
	if err := s.CreateToken(t.Context(), twin); err != nil {
		t.Errorf("a deleted token's name is not free: %v", err)
	}
}
