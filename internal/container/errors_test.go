package container

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

func TestClassOf(t *testing.T) {
	for _, class := range Classes() {
		made := Errorf("get", "s", class, "detail %d", 1)
		for name, err := range map[string]error{
			"bare": class, "made": made, "wrapped": fmt.Errorf("open: %w", fmt.Errorf("again: %w", made)),
			"joined": errors.Join(io.EOF, made),
		} {
			if got := ClassOf(err); got != class {
				t.Errorf("%s %v: class %v", name, class, got)
			}
			if !errors.Is(err, class) {
				t.Errorf("%s %v: errors.Is does not find it", name, class)
			}
		}
	}
	for _, err := range []error{nil, io.EOF, fmt.Errorf("x: %w", io.EOF)} {
		if got := ClassOf(err); got != nil {
			t.Errorf("%v has class %v", err, got)
		}
	}
}

// TestClassOfOutermost: where one error became another on its way out, the last word counts.
func TestClassOfOutermost(t *testing.T) {
	inner := Errorf("get", "s", ErrContainerNotFound, "")
	outer := fmt.Errorf("%w: %w", &Error{Op: "list", Class: ErrUnavailable}, inner)
	if got := ClassOf(outer); got != ErrUnavailable {
		t.Errorf("class is %v", got)
	}
	// A deadline of the provider's own, told as unavailability, is not the caller's.
	err := fmt.Errorf("%w: %w", &Error{Op: "get", Class: ErrUnavailable}, context.DeadlineExceeded)
	if got := ClassOf(err); got != ErrUnavailable {
		t.Errorf("class is %v", got)
	}
}

func TestClassesIsCopy(t *testing.T) {
	clear(Classes())
	if Classes()[0] == nil {
		t.Error("a caller changed the classes")
	}
}

func TestErrorText(t *testing.T) {
	for want, err := range map[string]error{
		`create session "demo": image not found: no such image: foo`: Errorf("create", "demo", ErrImageNotFound,
			"no such image: %s", "foo"),
		`list: engine unavailable`: Errorf("list", "", ErrUnavailable, ""),
	} {
		if err.Error() != want {
			t.Errorf("text is %q; want %q", err, want)
		}
	}
}

// TestErrorfDoesNotWrap: nothing of an engine's SDK crosses the seam, even by accident.
func TestErrorfDoesNotWrap(t *testing.T) {
	if err := Errorf("get", "s", ErrUnavailable, "%v", io.ErrUnexpectedEOF); errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("the argument can be found in the error")
	}
}

// fake is a Runtime of which nothing is called.
type fake struct {
	Runtime
	name string
}

type fakeStats struct{ fake }

func (fakeStats) Stats(context.Context, string) (*Stats, error) { return nil, nil }
func (fakeStats) Capabilities() Capabilities                    { return Capabilities{Ports: true} }

type layer struct {
	Runtime
	name string
}

func (l layer) Unwrap() Runtime { return l.Runtime }

// capableLayer overrides what it wraps.
type capableLayer struct{ layer }

func (capableLayer) Capabilities() Capabilities { return Capabilities{KillsExec: true} }

func TestAs(t *testing.T) {
	base := fakeStats{fake{name: "base"}}
	wrapped := layer{layer{base, "inner"}, "outer"}
	for name, rt := range map[string]Runtime{"itself": base, "through wrappers": wrapped} {
		s, ok := As[StatsReader](rt)
		if !ok || s.(fakeStats).name != "base" {
			t.Errorf("%s: %v, %t", name, s, ok)
		}
	}
	for name, rt := range map[string]Runtime{"plain": fake{}, "wrapped": layer{fake{}, ""}, "nothing": nil,
		"around nothing": layer{}} {
		if _, ok := As[StatsReader](rt); ok {
			t.Errorf("%s: found what is not there", name)
		}
	}
	if l, ok := As[layer](wrapped); !ok || l.name != "outer" {
		t.Errorf("found layer %q, %t; want the outermost", l.name, ok)
	}
}

func TestCapabilitiesOf(t *testing.T) {
	base := fakeStats{}
	for name, c := range map[string]struct {
		rt   Runtime
		want Capabilities
	}{
		"none":       {fake{}, Capabilities{}},
		"base's":     {layer{base, ""}, Capabilities{Ports: true}},
		"overridden": {capableLayer{layer{base, ""}}, Capabilities{KillsExec: true}},
	} {
		if got := CapabilitiesOf(c.rt); got != c.want {
			t.Errorf("%s: %+v; want %+v", name, got, c.want)
		}
	}
}

func TestLabels(t *testing.T) {
	opts := Options{Labels: map[string]string{"a": "b"}, ProjectID: "p", Origin: "o"}
	got := Labels("i", "s", opts)
	want := map[string]string{"a": "b", LabelOctobot: "true", LabelSession: "s", LabelProject: "p", LabelInstance: "i",
		LabelOrigin: "o"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("labels are %v; want %v", got, want)
	}
	if len(opts.Labels) != 1 {
		t.Error("the caller's map was changed")
	}
	if _, ok := Labels("i", "s", Options{})[LabelOrigin]; ok {
		t.Error("an empty origin has a label")
	}
}

func TestPrintable(t *testing.T) {
	for text, want := range map[string]string{
		"":                                     "",
		" plain words\n":                       "plain words",
		"grün ✓ 漢字":                            "grün ✓ 漢字",
		"two\nlines\tand a tab":                `two\nlines\tand a tab`,
		"\x1b[2J\x1b]0;owned\a":                `\x1b[2J\x1b]0;owned\a`,
		"\u202egnp.exe\u2066\u200b":            `\u202egnp.exe\u2066\u200b`,
		"\u00ad\ufeff\U000e0001":               `\u00ad\ufeff\U000e0001`,
		"no\xff\xfeUTF-8":                      `no\xff\xfeUTF-8`,
		`it's a "quote" and a \n`:              `it's a "quote" and a \n`,
		"\u00a0" + "in\u00a0between":           `in\u00a0between`,
		strings.Repeat("ä", 3000):              strings.Repeat("ä", 512) + "…",
		strings.Repeat("\x1b", 3000):           strings.Repeat(`\x1b`, 256) + "…",
		strings.Repeat("a", 1023) + "\x1b\x1b": strings.Repeat("a", 1023) + "…",
	} {
		got := Printable(text)
		if got != want {
			t.Errorf("%.60q is shown as %.80q; want %.80q", text, got, want)
		}
		if again := Printable(got); again != got {
			t.Errorf("%.60q is shown as %.80q the second time", got, again)
		}
	}
	if e := Errorf("start", "s", ErrRefused, "it says %s", "\x1b[2J").Error(); strings.Contains(e, "\x1b") {
		t.Errorf("error is %q", e)
	}
}
