package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/octobot-run/octobot/internal/session"
)

// TestPolicy asks for one thing at a time, in a project's name and in an admin's.
func TestPolicy(t *testing.T) {
	open := session.Policy{
		Networks: []string{"lab"}, Runtimes: []string{"kata"}, Images: []string{"debian", "ghcr.io/acme/*"},
		HostPorts: []session.PortRange{{First: 9000, Last: 9009}, {First: 80, Last: 80}},
		MaxCPUs:   8, MaxMemory: 8 << 30, MaxPIDs: 1000, MaxIdleTimeout: 2 * time.Hour, MaxAge: 48 * time.Hour,
		MaxSpec: 1000,
	}
	defaults := func(c *session.Config) {
		c.CPUs, c.Memory, c.PIDs, c.Runtime = 1.5, 1<<30, 100, "runsc"
		c.IdleTimeout, c.MaxAge = time.Hour, 24*time.Hour
	}
	none := func(*session.Config) {}
	ports := func(host string) session.Spec { return session.Spec{PortBindings: map[string]string{"80": host}} }
	env := func(size int) session.Spec { return session.Spec{Env: []string{"A=" + strings.Repeat("x", size)}} }
	for name, tt := range map[string]struct {
		policy   session.Policy
		defaults func(*session.Config)
		spec     session.Spec
		say      string // in the refusal; empty: it is granted
	}{
		"nothing":         {session.Policy{}, defaults, session.Spec{}, ""},
		"network":         {session.Policy{}, defaults, session.Spec{NetworkMode: "bridge"}, `"bridge"`},
		"network by ID":   {open, defaults, session.Spec{NetworkMode: "4f2a"}, "none, lab"},
		"network granted": {open, defaults, session.Spec{NetworkMode: "lab"}, ""},
		"network none":    {session.Policy{}, defaults, session.Spec{NetworkMode: "none"}, ""},
		"any network":     {session.Policy{Networks: []string{"*"}}, defaults, session.Spec{NetworkMode: "x"}, ""},
		"runtime":         {session.Policy{}, defaults, session.Spec{Runtime: "runc"}, `"runc"`},
		"runtime default": {session.Policy{}, defaults, session.Spec{Runtime: "runsc"}, ""},
		"runtime granted": {open, defaults, session.Spec{Runtime: "kata"}, ""},

		"cpus":            {session.Policy{}, defaults, session.Spec{CPUs: 1.6}, "1.6 is more than the 1.5"},
		"cpus less":       {session.Policy{}, defaults, session.Spec{CPUs: 0.5}, ""},
		"cpus none":       {session.Policy{}, defaults, session.Spec{CPUs: session.NoLimit}, "none was asked for"},
		"cpus free":       {session.Policy{}, none, session.Spec{CPUs: 4096}, ""},
		"cpus maximum":    {open, defaults, session.Spec{CPUs: 8}, ""},
		"cpus above":      {open, defaults, session.Spec{CPUs: 8.5}, "more than the 8"},
		"memory":          {session.Policy{}, defaults, session.Spec{Memory: 1 << 40}, "policy.max_memory"},
		"memory none":     {open, none, session.Spec{Memory: session.NoLimit}, "none was asked for"},
		"memory free":     {session.Policy{}, none, session.Spec{Memory: session.NoLimit}, ""},
		"pids":            {session.Policy{}, defaults, session.Spec{PIDs: 4 << 20}, "policy.max_pids"},
		"pids granted":    {open, defaults, session.Spec{PIDs: 1000}, ""},
		"idle":            {session.Policy{}, defaults, session.Spec{IdleTimeout: 61 * time.Minute}, "1h1m0s"},
		"idle none":       {open, defaults, session.Spec{IdleTimeout: session.NoLimit}, "policy.max_idle_timeout"},
		"idle granted":    {open, defaults, session.Spec{IdleTimeout: 2 * time.Hour}, ""},
		"age":             {session.Policy{}, defaults, session.Spec{MaxAge: 10000 * time.Hour}, "policy.max_age"},
		"age none":        {session.Policy{}, defaults, session.Spec{MaxAge: session.NoLimit}, "none was asked for"},
		"age none, freed": {session.Policy{}, none, session.Spec{MaxAge: session.NoLimit}, ""},

		"host port":         {session.Policy{}, defaults, ports("22"), "host port 22"},
		"host port random":  {session.Policy{}, defaults, ports("0"), ""},
		"one of two ports":  {open, defaults, ports("9009,22,0"), "host port 22"},
		"two host ports":    {open, defaults, ports("9009,0,9008"), ""},
		"host port granted": {open, defaults, ports("9009"), ""},
		"host port beside":  {open, defaults, ports("9010"), "9000-9009, 80"},

		"registry":            {session.Policy{}, defaults, session.Spec{Image: "127.0.0.1:2024/x"}, "127.0.0.1"},
		"registry metadata":   {session.Policy{}, defaults, session.Spec{Image: "169.254.169.254/x"}, "169.254"},
		"registry private":    {session.Policy{}, defaults, session.Spec{Image: "10.1.2.3/x:1"}, "10.1.2.3"},
		"registry IPv6":       {session.Policy{}, defaults, session.Spec{Image: "[::1]:5000/x"}, "::1"},
		"registry mapped":     {session.Policy{}, defaults, session.Spec{Image: "[::ffff:7f00:1]:5000/x"}, "7f00"},
		"registry localhost":  {session.Policy{}, defaults, session.Spec{Image: "localhost:5000/x"}, "localhost"},
		"registry short form": {session.Policy{}, defaults, session.Spec{Image: "127.1:5000/x"}, "127.1"},
		"registry hex form":   {session.Policy{}, defaults, session.Spec{Image: "0x7f.1:80/x"}, "0x7f.1"},
		"registry public":     {session.Policy{}, defaults, session.Spec{Image: "ghcr.io/acme/x"}, ""},
		"registry by address": {session.Policy{}, defaults, session.Spec{Image: "8.8.8.8:5000/x"}, ""},
		"registry allowed": {session.Policy{Images: []string{"127.0.0.1:2024/*"}}, defaults,
			session.Spec{Image: "127.0.0.1:2024/x"}, ""},
		"image":         {open, defaults, session.Spec{Image: "alpine"}, "debian, ghcr.io/acme/*"},
		"image granted": {open, defaults, session.Spec{Image: "docker.io/library/debian:13"}, ""},
		"image by pattern": {open, defaults,
			session.Spec{Image: "ghcr.io/acme/a/b@sha256:" + strings.Repeat("0", 64)}, ""},
		"image beside":  {open, defaults, session.Spec{Image: "ghcr.io/acmex/a"}, "acmex"},
		"image default": {open, func(c *session.Config) { c.DefaultImage = "private/x:1" }, session.Spec{}, ""},

		"spec":         {session.Policy{}, defaults, env(64 << 10), "more than the 65536"},
		"spec granted": {session.Policy{}, defaults, env(60 << 10), ""},
		"spec above":   {open, defaults, env(1000), "policy.max_spec"},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, tt.defaults, func(c *session.Config) { c.Policy = tt.policy })
			for id, who := range map[string]session.Principal{"p": of("p"), "admin": admin} {
				v, err := k.Create(t.Context(), who, session.CreateRequest{ID: id, ProjectID: "p", Spec: tt.spec})
				if tt.say == "" || who.Admin {
					if err != nil {
						t.Errorf("%s: %v", id, err)
					}
					if warned := len(v.Warnings) > 0; warned != (tt.say != "") {
						t.Errorf("%s is told: %q", id, v.Warnings)
					}
					continue
				}
				e := wantCode(t, err, session.CodePolicyDenied)
				if !strings.Contains(e.Detail+e.Hint, tt.say) || !strings.Contains(e.Hint, "policy.") {
					t.Errorf("%s: %+v does not say %q", id, e, tt.say)
				}
			}
		})
	}
}

// TestLimitsByDefault checks what a session gets where nothing, or none, was asked for.
func TestLimitsByDefault(t *testing.T) {
	some := session.Spec{CPUs: 1.5, Memory: 1 << 30, PIDs: 100, IdleTimeout: time.Hour, MaxAge: 24 * time.Hour}
	none := session.Spec{CPUs: session.NoLimit, Memory: session.NoLimit, IdleTimeout: session.NoLimit,
		MaxAge: session.NoLimit}
	for name, tt := range map[string]struct {
		who         session.Principal
		defaults    session.Spec
		most        session.Spec
		asked, want session.Spec
	}{
		"absent":            {of("p"), some, session.Spec{}, session.Spec{}, some},
		"absent, a maximum": {of("p"), session.Spec{}, some, session.Spec{}, some},
		"absent, a smaller maximum": {of("p"), some, session.Spec{Memory: 64 << 20}, session.Spec{},
			session.Spec{CPUs: 1.5, Memory: 64 << 20, PIDs: 100, IdleTimeout: time.Hour, MaxAge: 24 * time.Hour}},
		"absent, an admin":         {admin, session.Spec{}, some, session.Spec{}, session.Spec{}},
		"none, an admin":           {admin, some, some, none, session.Spec{PIDs: 100}},
		"none, nothing in the way": {of("p"), session.Spec{}, session.Spec{}, none, session.Spec{}},
	} {
		t.Run(name, func(t *testing.T) {
			k := newKit(t, func(c *session.Config) {
				c.CPUs, c.Memory, c.PIDs = tt.defaults.CPUs, tt.defaults.Memory, tt.defaults.PIDs
				c.IdleTimeout, c.MaxAge = tt.defaults.IdleTimeout, tt.defaults.MaxAge
				c.Policy = session.Policy{MaxCPUs: tt.most.CPUs, MaxMemory: tt.most.Memory, MaxPIDs: tt.most.PIDs,
					MaxIdleTimeout: tt.most.IdleTimeout, MaxAge: tt.most.MaxAge}
			})
			v, err := k.Create(t.Context(), tt.who, session.CreateRequest{Spec: tt.asked})
			if err != nil {
				t.Fatal(err)
			}
			got := session.Spec{CPUs: v.Spec.CPUs, Memory: v.Spec.Memory, PIDs: v.Spec.PIDs,
				IdleTimeout: v.Spec.IdleTimeout, MaxAge: v.Spec.MaxAge}
			if got.CPUs != tt.want.CPUs || got.Memory != tt.want.Memory || got.PIDs != tt.want.PIDs ||
				got.IdleTimeout != tt.want.IdleTimeout || got.MaxAge != tt.want.MaxAge {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
	k := newKit(t)
	for _, spec := range []session.Spec{{PIDs: session.NoLimit}, {PIDs: -1}, {Memory: -1}, {CPUs: -1}} {
		for _, who := range []session.Principal{admin, of("p")} {
			_, err := k.Create(t.Context(), who, session.CreateRequest{Spec: spec})
			wantCode(t, err, session.CodeInvalidArgument)
		}
	}
}

func TestParsePortRange(t *testing.T) {
	for text, want := range map[string]session.PortRange{"80": {80, 80}, "8000-8999": {8000, 8999}} {
		if got, err := session.ParsePortRange(text); err != nil || got != want || got.String() != text {
			t.Errorf("%s: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "0", "a", "9-8", "1-", "-1", "1-70000", "1-2-3"} {
		if got, err := session.ParsePortRange(text); err == nil {
			t.Errorf("%q: %v", text, got)
		}
	}
}
