package docker

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"
)

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}

func TestSubnetsTake(t *testing.T) {
	for _, tt := range []struct {
		name         string
		pool         []netip.Prefix
		bits         int
		used, routes []netip.Prefix
		want         []netip.Prefix // one after the other; then there is none
	}{
		{"all", prefixes("10.0.0.0/22"), 24, nil, nil,
			prefixes("10.0.0.0/24", "10.0.1.0/24", "10.0.2.0/24", "10.0.3.0/24")},
		{"past others", prefixes("10.0.0.0/22"), 24, prefixes("10.0.0.128/25", "10.0.2.0/23"), nil,
			prefixes("10.0.1.0/24")},
		{"past a route", prefixes("10.0.0.0/16", "172.29.0.0/23"), 24, nil, prefixes("10.0.0.0/8"),
			prefixes("172.29.0.0/24", "172.29.1.0/24")},
		{"small ones", prefixes("10.0.0.0/28"), 29, nil, prefixes("10.0.0.1/32"), prefixes("10.0.0.8/29")},
		{"a range smaller than a subnet", prefixes("10.0.0.0/26"), 24, nil, nil, prefixes("10.0.0.0/26")},
		{"the end of the address space", prefixes("255.255.255.0/24"), 25, nil, nil,
			prefixes("255.255.255.0/25", "255.255.255.128/25")},
		{"none", prefixes("10.0.0.0/24"), 24, prefixes("0.0.0.0/1"), nil, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := subnets{pool: tt.pool, used: tt.used}
			for _, want := range tt.want {
				if got, ok := s.take(tt.bits, tt.routes); got != want || !ok {
					t.Fatalf("take gives %v, %v; want %v", got, ok, want)
				}
			}
			if got, ok := s.take(tt.bits, tt.routes); ok {
				t.Errorf("take gives %v, past the end", got)
			}
			free, total := count(tt.pool, tt.bits, append(tt.used, tt.routes...))
			if free != uint64(len(tt.want)) || total < free {
				t.Errorf("%d of %d are free; want %d", free, total, len(tt.want))
			}
		})
	}
}

// What was given back comes again when all others have been had.
func TestSubnetsTakeInTurn(t *testing.T) {
	s := subnets{pool: prefixes("10.0.0.0/24", "10.1.0.0/24")}
	var got []netip.Prefix
	for range 5 {
		subnet, ok := s.take(25, nil)
		if !ok {
			t.Fatal("none is left")
		}
		got = append(got, subnet)
		s.keep(subnet)
		s.giveBack(subnet)
	}
	if want := prefixes("10.0.0.0/25", "10.0.0.128/25", "10.1.0.0/25", "10.1.0.128/25",
		"10.0.0.0/25"); !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}

func TestParseRoutes(t *testing.T) {
	word := func(s string) string {
		a := netip.MustParseAddr(s).As4()
		return fmt.Sprintf("%08X", binary.NativeEndian.Uint32(a[:]))
	}
	line := func(destination, mask string) string {
		return "eth0\t" + word(destination) + "\t" + word("10.9.9.1") + "\t0003\t0\t0\t0\t" + word(mask) + "\t0\t0\t0\n"
	}
	table := "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n" +
		line("0.0.0.0", "0.0.0.0") + line("128.0.0.0", "128.0.0.0") + line("10.0.0.0", "255.0.0.0") +
		line("192.168.7.0", "255.255.255.0") + line("10.9.9.9", "255.255.255.255") + "nonsense\n"
	if got, want := parseRoutes([]byte(table)), prefixes("10.0.0.0/8", "192.168.7.0/24",
		"10.9.9.9/32"); !slices.Equal(got, want) {
		t.Errorf("got %v; want %v", got, want)
	}
}
