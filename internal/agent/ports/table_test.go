package ports

import (
	"fmt"
	"strings"
	"testing"
)

const table4 = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:0BB8 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 26105 1 0000000000000000 100 0 0 10 0
   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 26106 1 0000000000000000 100 0 0 10 0
   2: 0100007F:0BB8 0100007F:D431 01 00000000:00000000 00:00000000 00000000  1000        0 26107 1 0000000000000000 20 4 30 10 -1
`

const table6 = `  sl  local_address                         remote_address                        st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:0BB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 3001 1 0000000000000000 100 0 0 10 0
   1: 0000000000000000FFFF00000100007F:0051 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 3002 1 0000000000000000 100 0 0 10 0
`

func TestParseTable(t *testing.T) {
	for text, want := range map[string]string{
		table4:                                  "[127.0.0.1:3000 26105 0.0.0.0:8080 26106]",
		table6:                                  "[[::1]:3000 3001 127.0.0.1:81 3002]",
		"":                                      "[]",
		"0: 0100007F 0 0A 1 2 3 4 5 6":          "[]",
		"0: 0100007F:0000 0 0A 1 2 3 4 5 6 7":   "[]",
		"0: 0100007F:10000 0 0A 1 2 3 4 5 6 7":  "[]",
		"0: 01007F:0001 0 0A 1 2 3 4 5 6 7":     "[]",
		"0: 0100007F01:0001 0 0A 1 2 3 4 5 6 7": "[]",
	} {
		got, err := parseTable(strings.NewReader(text), 100)
		said := []string{}
		for _, s := range got {
			said = append(said, s.addr.String()+" "+s.inode)
		}
		if err != nil || fmt.Sprint(said) != want {
			t.Errorf("%q gives %v, %v; want %s", text, said, err, want)
		}
	}
	if got, err := parseTable(strings.NewReader(table4), 1); err != nil || len(got) != 1 {
		t.Errorf("at most one is %v, %v", got, err)
	}
}

func FuzzParseTable(f *testing.F) {
	f.Add(table4)
	f.Add(table6)
	f.Fuzz(func(t *testing.T, text string) {
		found, _ := parseTable(strings.NewReader(text), 10)
		if len(found) > 10 {
			t.Fatalf("%d sockets", len(found))
		}
		for _, s := range found {
			if !s.addr.IsValid() || s.addr.Port() == 0 {
				t.Fatalf("socket %v", s)
			}
		}
	})
}
