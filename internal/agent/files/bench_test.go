package files

import (
	"bytes"
	"fmt"
	"os"
	"testing"

	"github.com/octobot-run/octobot/internal/agentproto"
)

func BenchmarkPack10000(b *testing.B) {
	session, dir := connect(b), tree(b)
	for i := range 10000 {
		if i%100 == 0 {
			mkdir(b, fmt.Sprintf("%s/%d", dir, i/100), 0o755, 0)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d/%d", dir, i/100, i), bytes.Repeat([]byte{'x'}, 100),
			0o644); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if _, err := receive(begin(b, session, &agentproto.Pack{As: at(root, dir)})); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkUnpack10000(b *testing.B) {
	session, dir := connect(b), tree(b)
	src, dst := mkdir(b, dir+"/src", 0o755, 0), mkdir(b, dir+"/dst", 0o755, 0)
	for i := range 10000 {
		if i%100 == 0 {
			mkdir(b, fmt.Sprintf("%s/%d", src, i/100), 0o755, 0)
		}
		if err := os.WriteFile(fmt.Sprintf("%s/%d/%d", src, i/100, i), bytes.Repeat([]byte{'x'}, 100),
			0o644); err != nil {
			b.Fatal(err)
		}
	}
	archive, err := receive(begin(b, session, &agentproto.Pack{As: at(root, src)}))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := unpack(b, session, at(root, dst), archive); err != nil {
			b.Fatal(err)
		}
	}
}
