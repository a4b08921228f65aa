package config

import (
	"flag"
	"fmt"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the documentation and golden files anew")

const (
	documentation = "../../docs/configuration.md"
	tableBegin    = "<!-- settings -->\n"
	tableEnd      = "<!-- /settings -->\n"
)

// TestDocumentation keeps the table of the documentation as the settings are.
func TestDocumentation(t *testing.T) {
	text, err := os.ReadFile(documentation)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(text), tableBegin)
	_, after, ok2 := strings.Cut(rest, tableEnd)
	if !ok || !ok2 {
		t.Fatalf("%s has no %q and %q", documentation, tableBegin, tableEnd)
	}
	want := before + tableBegin + table() + tableEnd + after
	if *update {
		if err := os.WriteFile(documentation, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if string(text) != want {
		t.Errorf("%s is not what the settings are; run: go test ./internal/config -update", documentation)
	}
}

func table() string {
	var b strings.Builder
	b.WriteString("| YAML | flag of `octobot serve` | variable | default | what | allowed |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range Settings() {
		value := s.Value(Default())
		switch {
		case s.Key == "data_dir":
			value = "`/var/lib/octobot` as root, else `~/.local/share/octobot`"
		case value != "":
			value = "`" + value + "`"
		}
		fmt.Fprintf(&b, "| `%s` | `--%s` | `%s` | %s | %s | %s |\n", s.Key, s.Flag, s.Env(), value, s.Usage, s.Allowed)
	}
	return b.String()
}

// TestSettingsCoverConfig finds fields that no setting sets.
func TestSettingsCoverConfig(t *testing.T) {
	fields := 0
	var walk func(reflect.Type)
	walk = func(typ reflect.Type) {
		for i := range typ.NumField() {
			if f := typ.Field(i); f.Type.Kind() == reflect.Struct {
				walk(f.Type)
			} else {
				fields++
			}
		}
	}
	walk(reflect.TypeFor[Config]())
	const instance = 1 // comes from the store
	if got, want := len(Settings()), fields-instance; got != want {
		t.Errorf("%d settings for %d fields", got, want)
	}
}

func TestSettingsAreConsistent(t *testing.T) {
	keys, flags := map[string]bool{}, map[string]bool{}
	for _, s := range Settings() {
		if keys[s.Key] || flags[s.Flag] {
			t.Errorf("%s or --%s is there twice", s.Key, s.Flag)
		}
		keys[s.Key], flags[s.Flag] = true, true
		if s.Key == "data_dir" || s.List {
			continue
		}
		c, d := Config{}, Default()
		if err := s.parse(&c, []string{s.format(&d)}); err != nil {
			t.Errorf("%s refuses its default %q", s.Key, s.format(&d))
		}
		if got, want := s.format(&c), s.format(&d); got != want {
			t.Errorf("%s: %q became %q", s.Key, want, got)
		}
	}
}

func TestValueHidesSecrets(t *testing.T) {
	c := Default()
	c.DatabaseURL = "postgres://octobot:hunter2@db/octobot"
	for _, s := range Settings() {
		if strings.Contains(s.Value(c), "hunter2") {
			t.Errorf("%s shows a password", s.Key)
		}
	}
}

func TestParseSize(t *testing.T) {
	for s, want := range map[string]int64{
		"0": 0, "1024": 1024, "512b": 512, "512m": 512 << 20, "512M": 512 << 20, "2g": 2 << 30, "2gb": 2 << 30,
		"2GiB": 2 << 30, "1.5k": 1536, "1t": 1 << 40,
	} {
		if got, err := ParseSize(s); err != nil || got != want {
			t.Errorf("ParseSize(%q) = %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "m", "-1", "1e3", "1 g", "1x", "bb", "ib", "1..2", "99999999t", "NaN", "Inf",
		"0x10"} {
		if got, err := ParseSize(s); err == nil {
			t.Errorf("ParseSize(%q) = %d, want an error", s, got)
		}
	}
	for n, want := range map[int64]string{0: "0", 1: "1", 1024: "1k", 1536: "1536", 8 << 20: "8m", 3 << 40: "3t",
		2048 << 40: "2048t"} {
		if got := FormatSize(n); got != want {
			t.Errorf("FormatSize(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 30 * time.Second: "30s", 10 * time.Minute: "10m", 90 * time.Minute: "1h30m", 168 * time.Hour: "168h",
		time.Hour + time.Second: "1h0m1s",
	} {
		if got := FormatDuration(d); got != want {
			t.Errorf("FormatDuration(%s) = %q, want %q", d, got, want)
		}
	}
}
