package v1_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"regexp"
	"strings"
	"testing"
	"time"

	v1 "github.com/octobot-run/octobot/api/v1"
)

func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

// Whatever a command reads and writes survives JSON.
func TestBytesSurviveJSON(t *testing.T) {
	for name, b := range map[string][]byte{
		"nothing": {}, "text": []byte("grüße\n"), "control": []byte("\x00\x1b[1m\r\n"), "HTML": []byte("<&>\u2028"),
		"replacement": []byte("\ufffd"), "half a character": []byte("gr\xc3"), "any": everyByte(),
	} {
		t.Run(name, func(t *testing.T) {
			var got v1.ExecResponse
			roundTrip(t, v1.ExecResponse{Stdout: base64.StdEncoding.EncodeToString(b), Encoding: v1.EncodingBase64},
				&got)
			if stdout, stderr, err := got.Output(); err != nil || !bytes.Equal(stdout, b) || len(stderr) != 0 {
				t.Errorf("response %+v gives %q, %q, %v", got, stdout, stderr, err)
			}
			var req, gotReq v1.ExecRequest
			req.SetStdin(b)
			roundTrip(t, req, &gotReq)
			if stdin, err := gotReq.StdinBytes(); err != nil || !bytes.Equal(stdin, b) {
				t.Errorf("request %+v gives %q, %v", gotReq, stdin, err)
			}
			var out v1.Output
			roundTrip(t, v1.Output{Data: b}, &out)
			if !bytes.Equal(out.Data, b) {
				t.Errorf("event gives %q", out.Data)
			}
		})
	}
	if _, _, err := (v1.ExecResponse{Stdout: "!", Encoding: v1.EncodingBase64}).Output(); err == nil {
		t.Error("what is no base64 was decoded")
	}
	if _, err := (v1.ExecRequest{StdinEncoding: "rot13"}).StdinBytes(); err == nil {
		t.Error("an unknown encoding was decoded")
	}
}

func roundTrip(t *testing.T, in, out any) {
	t.Helper()
	b, err := json.Marshal(in)
	if err == nil {
		err = json.Unmarshal(b, out)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 90 * time.Second: "1m30s", 30 * time.Minute: "30m", time.Hour: "1h",
		90 * time.Minute: "1h30m",
		10 * time.Minute: "10m", 100 * time.Hour: "100h", time.Hour + time.Second: "1h0m1s",
		1500 * time.Millisecond: "1.5s", -time.Hour: "-1h",
		math.MaxInt64: "2562047h47m16.854775807s", math.MinInt64: "-2562047h47m16.854775808s",
	} {
		var got v1.Duration
		roundTrip(t, v1.Duration(d), &got)
		if v1.Duration(d).String() != want || time.Duration(got) != d {
			t.Errorf("%d is %q and comes back as %d, want %q", d, v1.Duration(d), got, want)
		}
	}
	var d v1.Duration
	if err := json.Unmarshal([]byte(`"tomorrow"`), &d); err == nil || !strings.Contains(err.Error(), "1h30m") {
		t.Errorf("error %v", err)
	}
}

func TestParseDuration(t *testing.T) {
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"0": 0, "0s": 0, "30s": 30 * time.Second, "1h30m": 90 * time.Minute, "-1h": -time.Hour, "7d": 7 * day,
		"1d12h": 36 * time.Hour, "1.5d": 36 * time.Hour, "1d12h30m1s": day + 12*time.Hour + 30*time.Minute +
			time.Second,
		"12h1d": 36 * time.Hour, "-1d1h": -25 * time.Hour, "+2d": 2 * day, "0d": 0, "106751d": 106751 * day,
	} {
		if got, err := v1.ParseDuration(text); err != nil || got != want {
			t.Errorf("%q is %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "7", "1dd", "1d-2h", "--1d", "-", "1d2", "1 d", "1D", "1w", "106752d",
		"106751d24h", "1e3d", "day", "\xff1d", "1d\x00"} {
		_, err := v1.ParseDuration(text)
		if err == nil || !strings.Contains(err.Error(), "is not a duration such as 30s, 1h30m or 7d") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// What a session does not have is absent.
func TestSessionIsShort(t *testing.T) {
	b, err := json.Marshal(v1.Session{ID: "s", Status: v1.StatusRunning, Spec: v1.Spec{Image: "i"},
		CreatedAt: time.Unix(0, 0).UTC()})
	if want := `{"id":"s","status":"running","image":"i","created_at":"1970-01-01T00:00:00Z"}`; err != nil ||
		string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}

// goWords are those in which Go's packages speak to programmers.
var goWords = regexp.MustCompile(`json: |invalid character|EOF|time: |Go (value|struct)|unmarshal`)

func TestParseControl(t *testing.T) {
	for _, good := range []string{
		`{"start":{"cmd":["sh","-c","x"],"env":["A=b"],"timeout":"1m"}}`, `{"eof":true}`,
		`{"resize":{"rows":24,"cols":80}}`,
		`{"exit":{"code":-1}}`, ` {"exit":{}} `, `{"error":{"type":"t","title":"t","status":500,"code":"internal"}}`,
	} {
		if _, err := v1.ParseControl([]byte(good)); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range []string{
		``, `{}`, `null`, `[]`, `"eof"`, `{"eof":false}`, `{"eof":1}`, `{"eof":true}{}`, `{"eof":true} x`,
		`{"eof":true,"exit":{"code":0}}`,
		`{"resize":null}`, `{"resize":{"rows":0,"cols":80}}`, `{"resize":{"rows":24}}`,
		`{"resize":{"rows":-1,"cols":1}}`,
		`{"resize":{"rows":65536,"cols":1}}`, `{"resize":{"rows":1.5,"cols":1}}`,
		`{"resize":{"rows":1,"cols":1,"x":1}}`,
		`{"unknown":true}`, `{"start":{"cmd":["a"],"privileged":true}}`, `{"start":{"cmd":"a"}}`,
		`{"start":{"timeout":"x"}}`, "{\"eof\":true,\"\xff\":1}",
		strings.Repeat("[", 100000),
	} {
		c, err := v1.ParseControl([]byte(bad))
		if err == nil {
			t.Errorf("%.80q was read as %+v", bad, c)
		} else if goWords.MatchString(err.Error()) {
			t.Errorf("%.80q is refused with %q", bad, err)
		}
	}
}

// A control frame is read the same after it was written, and what is read has one member.
func FuzzControl(f *testing.F) {
	for _, seed := range []string{`{"start":{"cmd":["a"],"stdin":"x","timeout":"1m"}}`, `{"eof":true}`,
		`{"resize":{"rows":1,"cols":65535}}`, `{"exit":{"code":137}}`, `{"error":{"code":"internal","status":500}}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := v1.ParseControl(data)
		if err != nil {
			return
		}
		first, err := json.Marshal(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := v1.ParseControl(first)
		if err != nil {
			t.Fatalf("%s came of %q and is refused: %v", first, data, err)
		}
		if second, _ := json.Marshal(again); !bytes.Equal(first, second) {
			t.Errorf("%s became %s", first, second)
		}
	})
}
