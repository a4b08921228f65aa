package cli

import "testing"

func TestUpdate(t *testing.T) {
	dir := startDaemon(t)
	must(t, dir, "create", "--memory", "64m", "-l", "draft", "-l", "tier=front", "a")
	must(t, dir, "create", "--no-start", "b")
	const show = `{{.id}} {{.resources.memory}} {{.resources.cpus}} {{.resources.pids}} {{.idle_timeout}} {{.max_age}} {{.on_expire}} {{.labels}}`
	format := func(id string) string { return must(t, dir, "inspect", "--format", show, id) }
	if got := must(t, dir, "update", "-m", "96m", "--cpus", "1.5", "--pids", "50", "--idle-timeout", "30m",
		"--max-age", "12h", "--on-expire", "close", "-l", "tier=back", "-l", "new", "--remove-label", "draft",
		"a", "b"); got != "a\nb\n" {
		t.Errorf("update prints %q", got)
	}
	if got, want := format("a"), "a 100663296 1.5 50 30m 12h close map[new: tier:back]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	must(t, dir, "update", "--idle-timeout", "0", "a")
	if got, want := format("a"), "a 100663296 1.5 50  12h close map[new: tier:back]\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	golden(t, "update", transcript(t, dir,
		"update", "update a", "update --memory lots a", "update --memory 0 a", "update --pids 0 a",
		"update --memory= --cpus 2 a", "update --on-expire= --cpus 2 a",
		"update --cpus 1000000 a",
		"update --on-expire explode a", "update -l octobot.session=x a", "update -l x nope a", "update -o yaml a"))
}
