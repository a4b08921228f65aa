package containertest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/octobot-run/octobot/internal/container"
)

var searchCases = onFileSearcher([]sharedCase{
	{"names", testSearchNames},
	{"content", testSearchContent},
	{"case", testSearchCase},
	{"regular expressions", testSearchRegexp},
	{"long lines", testSearchLong},
	{"limit", testSearchLimit},
	{"what is no text", testSearchBinary},
	{"large files", testSearchLarge},
	{"links and what is no file", testSearchLinks},
	{"as another user", testSearchUser},
	{"names that are no text", testSearchOddNames},
	{"ends", testSearchEnds},
	{"bad arguments", testSearchBad},
})

// onFileSearcher leaves the cases out where there is none.
func onFileSearcher(cases []sharedCase) []sharedCase {
	for i := range cases {
		run := cases[i].run
		cases[i].run = func(d *disk) {
			if _, ok := optional[container.FileSearcher](d.fixture); ok {
				run(d)
			}
		}
	}
	return cases
}

func (d *disk) search(dir string, opts container.SearchFilesOptions) ([]container.FileMatch, string, error) {
	files, _ := container.As[container.FileSearcher](d.rt) // onFileSearcher has looked
	opts.User = d.user
	var found []container.FileMatch
	incomplete, err := files.SearchFiles(d.ctx, d.id, dir, opts, func(m container.FileMatch) error {
		found = append(found, m)
		return nil
	})
	return found, incomplete, err
}

// finds checks all that a search in the case's directory finds: names, or name:line:text.
func (d *disk) finds(opts container.SearchFilesOptions, want ...string) []container.FileMatch {
	d.Helper()
	found, incomplete, err := d.search(d.dir, opts)
	d.must(err)
	d.equal("why it may be incomplete", incomplete, "")
	var got []string
	for _, m := range found {
		name, below := strings.CutPrefix(m.Path, d.dir+"/")
		if !below {
			d.Errorf("path is %q", m.Path)
		}
		if opts.Content != "" {
			d.equal("type", m.Type, container.FileRegular)
			name = fmt.Sprintf("%s:%d:%s", name, m.Line, m.Text)
		} else {
			d.equal("line", m.Line, int64(0))
			d.equal("text", m.Text, "")
		}
		got = append(got, name)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		d.Errorf("%+v finds %q; want %q", opts, got, want)
	}
	return found
}

func testSearchNames(d *disk) {
	d.run("mkdir -p a/b/c.txt .hidden; echo x > a/one.txt; echo x > a/b/two.txt; echo x > a/b/two.go; echo x > .hidden/x.txt; " +
		": > empty.txt")
	found := d.finds(container.SearchFilesOptions{Name: "*.txt"},
		"a/one.txt", "a/b/two.txt", "a/b/c.txt", ".hidden/x.txt", "empty.txt")
	for _, m := range found {
		kind := container.FileRegular
		if m.Path == d.p("a/b/c.txt") {
			kind = container.FileDirectory
		}
		d.equal("type of "+m.Path, m.Type, kind)
	}
	d.finds(container.SearchFilesOptions{Name: "two.*"}, "a/b/two.txt", "a/b/two.go")
	d.finds(container.SearchFilesOptions{Name: "[ot]??.txt"}, "a/one.txt", "a/b/two.txt")
	d.finds(container.SearchFilesOptions{Name: "b"}, "a/b")
	d.finds(container.SearchFilesOptions{Name: "a/b"}) // of the last element
	d.finds(container.SearchFilesOptions{Name: "none"})
	d.finds(container.SearchFilesOptions{Name: "*"}, ".hidden", ".hidden/x.txt", "a", "a/b", "a/b/c.txt", "a/b/two.go",
		"a/b/two.txt", "a/one.txt", "empty.txt")
	found, _, err := d.search(d.p("a/b"), container.SearchFilesOptions{Name: "*.go"})
	d.must(err)
	d.equal("number of matches", len(found), 1)
	d.equal("path", found[0].Path, d.p("a/b/two.go"))
}

func testSearchContent(d *disk) {
	d.run("mkdir -p a/b; : > empty")
	d.put(d.p("a/f.txt"), "one\ntwo needle\n\nneedle needle three\nno\nthe last needle")
	d.put(d.p("a/b/g.go"), "needle\r\n")
	d.put(d.p("a/b/h.txt"), "Needle\nneedxle\nneed.le\n")
	d.finds(container.SearchFilesOptions{Content: "needle"}, "a/f.txt:2:two needle", "a/f.txt:4:needle needle three",
		"a/f.txt:6:the last needle", "a/b/g.go:1:needle")
	d.finds(container.SearchFilesOptions{Content: "needle", Name: "*.go"}, "a/b/g.go:1:needle")
	d.finds(container.SearchFilesOptions{Content: "d.l"}, "a/b/h.txt:3:need.le") // it is text, not a pattern
	d.finds(container.SearchFilesOptions{Content: "none"})
	d.finds(container.SearchFilesOptions{Content: "two\nneedle"}) // lines alone are looked at
	found, _, err := d.search(d.dir, container.SearchFilesOptions{Content: "needle", Name: "f.txt"})
	d.must(err)
	for i, line := range []int64{2, 4, 6} {
		d.equal("line", found[i].Line, line) // in the file's order
	}
}

func testSearchCase(d *disk) {
	d.put(d.p("README.txt"), "Some Text\n")
	d.put(d.p("readme.TXT"), "some text\n")
	d.put(d.p("GRÜSSE.txt"), "GRÜN\n")
	d.finds(container.SearchFilesOptions{Name: "readme*"}, "readme.TXT")
	d.finds(container.SearchFilesOptions{Name: "Readme.Txt", IgnoreCase: true}, "README.txt", "readme.TXT")
	d.finds(container.SearchFilesOptions{Content: "some text"}, "readme.TXT:1:some text")
	d.finds(container.SearchFilesOptions{Content: "SOME text", IgnoreCase: true}, "README.txt:1:Some Text",
		"readme.TXT:1:some text")
	d.finds(container.SearchFilesOptions{Content: "grün", Name: "*.TXT", IgnoreCase: true}, "GRÜSSE.txt:1:GRÜN")
}

func testSearchRegexp(d *disk) {
	d.put(d.p("f"), "func main() {\n\treturn 42\n}\n42\nFUNC x\n")
	d.finds(container.SearchFilesOptions{Content: `^\d+$`, Regexp: true}, "f:4:42")
	d.finds(container.SearchFilesOptions{Content: `^func \w+`, Regexp: true}, "f:1:func main() {")
	d.finds(container.SearchFilesOptions{Content: `^func \w+`, Regexp: true, IgnoreCase: true}, "f:1:func main() {",
		"f:5:FUNC x")
	d.finds(container.SearchFilesOptions{Content: `return|}$`, Regexp: true}, "f:2:\treturn 42", "f:3:}")
	d.finds(container.SearchFilesOptions{Content: `main.*return`, Regexp: true})
}

func testSearchLong(d *disk) {
	long := strings.Repeat("x", 10_000)
	for name, line := range map[string]string{"first": "needle" + long, "last": long + "needle", "mid": long +
		"needle" + long} {
		d.put(d.p(name), "short\n"+line+"\nafter needle\n")
	}
	found, incomplete, err := d.search(d.dir, container.SearchFilesOptions{Content: "needle"})
	d.must(err)
	d.equal("why it may be incomplete", incomplete, "")
	d.equal("number of matches", len(found), 6)
	for _, m := range found {
		if m.Line == 3 {
			d.equal("text", m.Text, "after needle")
			continue
		}
		d.equal("line", m.Line, int64(2))
		if !strings.Contains(m.Text, "needle") || len(m.Text) > 512 || len(m.Text) < 100 {
			d.Errorf("%s: text is %d bytes, %q", m.Path, len(m.Text), m.Text)
		}
	}
}

func testSearchLimit(d *disk) {
	var names []string
	for i := range 30 {
		names = append(names, fmt.Sprintf("f%02d", i))
	}
	d.run("touch " + strings.Join(names, " "))
	d.put(d.p("lines"), strings.Repeat("needle\n", 1500))
	limited := func(opts container.SearchFilesOptions, want int) {
		d.Helper()
		found, incomplete, err := d.search(d.dir, opts)
		d.must(err)
		d.equal("number of matches", len(found), want)
		d.equal("incomplete", incomplete != "", true)
	}
	limited(container.SearchFilesOptions{Name: "f*", Limit: 7}, 7)
	limited(container.SearchFilesOptions{Content: "needle", Limit: 1}, 1)
	limited(container.SearchFilesOptions{Content: "needle"}, 1000)
	d.finds(container.SearchFilesOptions{Name: "f*", Limit: 31}, names...)
	found, incomplete, err := d.search(d.dir, container.SearchFilesOptions{Content: "needle", Limit: 10000})
	d.must(err)
	d.equal("number of matches", len(found), 1500)
	d.equal("incomplete", incomplete, "")
}

func testSearchBinary(d *disk) {
	d.put(d.p("binary"), "needle\n\x00\x01needle\n")
	d.put(d.p("text"), "needle\n")
	d.put(d.p("noise"), "\x00"+noise(9, 100_000)+"\nneedle\n")
	d.finds(container.SearchFilesOptions{Content: "needle"}, "text:1:needle")
	d.finds(container.SearchFilesOptions{Name: "b*"}, "binary") // names there are all the same
}

func testSearchLarge(d *disk) {
	d.put(d.p("large"), "needle\n"+strings.Repeat("x\n", 5000))
	d.put(d.p("small"), "needle\n")
	found, _, err := d.search(d.dir, container.SearchFilesOptions{Content: "needle", MaxSize: 1000})
	d.must(err)
	d.equal("number of matches", len(found), 1)
	d.equal("path", found[0].Path, d.p("small"))
	d.finds(container.SearchFilesOptions{Content: "needle"}, "small:1:needle", "large:1:needle")
}

func testSearchLinks(d *disk) {
	d.run("mkdir -p in/sub out; echo needle > out/f; echo needle > in/sub/f; ln -s ../out in/out; ln -s sub/f in/link; " +
		"ln -s .. in/sub/up; ln -s none in/dangling; mkfifo in/fifo")
	d.mustBePrompt("search", func() {
		found, incomplete, err := d.search(d.p("in"), container.SearchFilesOptions{Content: "needle"})
		d.must(err)
		d.equal("incomplete", incomplete, "")
		d.equal("number of matches", len(found), 1)
		d.equal("path", found[0].Path, d.p("in/sub/f"))
		found, _, err = d.search(d.p("in"), container.SearchFilesOptions{Name: "*"})
		d.must(err)
		kinds := make(map[string]string)
		for _, m := range found {
			kinds[strings.TrimPrefix(m.Path, d.p("in/"))] = m.Type
		}
		d.equal("what there is", fmt.Sprint(kinds), fmt.Sprint(map[string]string{
			"sub": container.FileDirectory, "sub/f": container.FileRegular, "sub/up": container.FileSymlink,
			"out": container.FileSymlink, "link": container.FileSymlink, "dangling": container.FileSymlink,
			"fifo": container.FileFIFO,
		}))
	})
}

func testSearchUser(d *disk) {
	d.run("mkdir secret open; echo needle > secret/f; chmod 700 secret; echo needle > open/f; echo needle > private; " +
		"chmod 600 private")
	u := d.as("1000:1000")
	found, _, err := u.search(d.dir, container.SearchFilesOptions{Content: "needle"})
	d.must(err)
	d.equal("number of matches", len(found), 1)
	d.equal("path", found[0].Path, d.p("open/f"))
	found, _, err = u.search(d.dir, container.SearchFilesOptions{Name: "f"})
	d.must(err)
	d.equal("number of names", len(found), 1)
	d.finds(container.SearchFilesOptions{Content: "needle"}, "open/f:1:needle", "private:1:needle", "secret/f:1:needle")
}

func testSearchOddNames(d *disk) {
	names := []string{"a\nb.txt", "\xff\xfe.txt", " .txt", "日本.txt", strings.Repeat("n", 251) + ".txt"}
	var lines []string
	for _, name := range names {
		d.put(d.p(name), "x\n"+name[:1]+"needle\n")
		lines = append(lines, name+":2:"+name[:1]+"needle")
	}
	d.finds(container.SearchFilesOptions{Name: "*.txt"}, names...)
	d.finds(container.SearchFilesOptions{Content: "needle"}, lines...)
}

func testSearchEnds(d *disk) {
	d.run("touch a b c d e f")
	files, _ := container.As[container.FileSearcher](d.rt)
	opts := container.SearchFilesOptions{Name: "*"}
	enough, n := errors.New("enough"), 0
	_, err := files.SearchFiles(d.ctx, d.id, d.dir, opts, func(container.FileMatch) error {
		n++
		return enough
	})
	if !errors.Is(err, enough) || n != 1 {
		d.Errorf("error is %v, after %d matches; want the callback's own after one", err, n)
	}

	// One who takes nothing more may leave.
	d.put(d.p("lines"), strings.Repeat("needle\n", 10000))
	ctx, cancel := context.WithCancel(d.ctx)
	defer cancel()
	opts = container.SearchFilesOptions{Content: "needle", Limit: 10000}
	d.mustBePrompt("leaving", func() {
		_, err = files.SearchFiles(ctx, d.id, d.dir, opts, func(container.FileMatch) error {
			cancel()
			return nil
		})
		d.class(err, context.Canceled)
	})
}

func testSearchBad(d *disk) {
	d.run("echo x > f; ln -s loop loop")
	for name, opts := range map[string]container.SearchFilesOptions{
		"nothing":        {},
		"bad glob":       {Name: "[a"},
		"bad regexp":     {Content: "(", Regexp: true},
		"long name":      {Name: strings.Repeat("a", 2000)},
		"long content":   {Content: strings.Repeat("a", 2000)},
		"negative limit": {Name: "*", Limit: -1},
		"huge limit":     {Name: "*", Limit: 10001},
		"negative size":  {Name: "*", MaxSize: -1},
	} {
		_, _, err := d.search(d.dir, opts)
		d.class(err, container.ErrInvalidArgument, name)
	}
	for _, name := range []string{"none", "f", "f/x", "loop"} {
		_, _, err := d.search(d.p(name), container.SearchFilesOptions{Name: "*"})
		d.class(err, container.ErrPathNotFound, name)
	}
}
