package session

import (
	"crypto/sha256"
	"testing"
	"time"
)

// TestTokenCacheForgets checks that an answer of the store which is older than a deletion is not
// kept.
func TestTokenCacheForgets(t *testing.T) {
	var c tokenCache
	hash := sha256.Sum256([]byte("secret"))
	_, _, epoch := c.get(hash)
	c.clear()
	c.put(hash, Token{Name: "t"}, time.Now().Add(time.Hour), epoch)
	if _, ok, _ := c.get(hash); ok {
		t.Error("it was kept")
	}
	for i := range 2 * tokenCacheSize {
		c.put([sha256.Size]byte{byte(i), byte(i >> 8)}, Token{}, time.Now(), 1)
	}
	if len(c.entries) > tokenCacheSize {
		t.Errorf("%d entries", len(c.entries))
	}
}
