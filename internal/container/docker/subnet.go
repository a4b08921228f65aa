package docker

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
)

const (
	// A project's sessions share a subnet on Docker: 253 of them can run at a time.
	projectBits = 24
	// One session has a subnet to itself on Podman.
	sessionBits = 29
	// leastRoute is how long a route's prefix is at least that keeps a subnet from being used. What
	// is shorter is a default route by another name, as a VPN's 0.0.0.0/1.
	leastRoute = 8
)

// subnets are what our networks may use of the configured pool. They are given out in turn, so that
// an address that was a session's a moment ago is not another's now.
type subnets struct {
	pool []netip.Prefix

	mu     sync.Mutex
	last   netip.Prefix
	given  map[netip.Prefix]bool // to who is making a network just now
	used   []netip.Prefix        // by the engine's networks, as last listed, and by what was made since
	listed bool
}

// take gives a subnet with a prefix of bits that overlaps none in use; routes are the host's. With
// ok false there is none.
func (s *subnets) take(bits int, routes []netip.Prefix) (subnet netip.Prefix, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := slices.Concat(s.used, routes)
	free := func(c netip.Prefix) (busy netip.Prefix, free bool) {
		if s.given[c] {
			return c, false
		}
		for _, u := range used {
			if u.Overlaps(c) {
				return u, false
			}
		}
		return c, true
	}
	subnet, ok = nextFree(s.pool, bits, s.last, free)
	if ok {
		if s.given == nil {
			s.given = make(map[netip.Prefix]bool)
		}
		s.last, s.given[subnet] = subnet, true
	}
	return subnet, ok
}

// keep notes that the subnet's network is made.
func (s *subnets) keep(subnet netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.given, subnet)
	s.used = append(s.used, subnet)
}

// giveBack takes a subnet back whose network is gone, or was not made.
func (s *subnets) giveBack(subnet netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.given, subnet)
	s.used = slices.DeleteFunc(s.used, func(u netip.Prefix) bool { return u == subnet })
}

// setUsed notes what the engine's networks use.
func (s *subnets) setUsed(used []netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used, s.listed = used, true
}

func (s *subnets) isListed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.listed
}

// nextFree looks for a subnet behind last, and then from the beginning.
func nextFree(
	pool []netip.Prefix, bits int, last netip.Prefix, free func(netip.Prefix) (busy netip.Prefix, free bool),
) (netip.Prefix, bool) {
	start := 0
	for i, r := range pool {
		if last.IsValid() && r.Contains(last.Addr()) {
			start = i
		}
	}
	for i := range len(pool) + 1 { // once more where it began, behind last at first
		r := pool[(start+i)%len(pool)]
		first, end := span(r)
		size := uint64(1) << (32 - max(bits, r.Bits()))
		from := first
		if i == 0 && last.IsValid() && r.Contains(last.Addr()) {
			_, from = span(last)
			from = (from + size - 1) / size * size // the pool's subnets are aligned
		}
		for from < end {
			c := netip.PrefixFrom(address(from), max(bits, r.Bits()))
			busy, ok := free(c)
			if ok {
				return c, true
			}
			_, past := span(busy)
			from = max(from+size, (past+size-1)/size*size)
		}
	}
	return netip.Prefix{}, false
}

// count gives how many subnets the pool has, and how many of them overlap none in use.
func count(pool []netip.Prefix, bits int, used []netip.Prefix) (free, total uint64) {
	for _, r := range pool {
		first, end := span(r)
		size := uint64(1) << (32 - max(bits, r.Bits()))
		total += (end - first) / size
		busy := make(map[uint64]bool)
		for _, u := range used {
			from, past := span(u)
			for at := max(first, from/size*size); at < min(end, past); at += size {
				busy[at] = true
			}
		}
		free += (end-first)/size - uint64(len(busy))
	}
	return free, total
}

// span is the prefix as numbers: its first address, and the one behind its last.
func span(p netip.Prefix) (first, end uint64) {
	a := p.Masked().Addr().As4()
	first = uint64(binary.BigEndian.Uint32(a[:]))
	return first, first + 1<<(32-p.Bits())
}

func address(n uint64) netip.Addr {
	var a [4]byte
	binary.BigEndian.PutUint32(a[:], uint32(n))
	return netip.AddrFrom4(a)
}

// hostRoutes gives the networks that this machine has routes to, which a subnet must not hide. What
// can't be read is left to the engine, which refuses what it knows of.
func hostRoutes() []netip.Prefix {
	table, err := os.ReadFile("/proc/net/route")
	if err != nil {
		return nil
	}
	return parseRoutes(table)
}

// parseRoutes reads /proc/net/route: a line for each route, with destination and mask as
// hexadecimal words in the machine's order.
func parseRoutes(table []byte) []netip.Prefix {
	var routes []netip.Prefix
	lines := bufio.NewScanner(bytes.NewReader(table))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 {
			continue
		}
		destination, ok1 := parseWord(fields[1])
		mask, ok2 := parseWord(fields[7])
		if !ok1 || !ok2 {
			continue // the heading
		}
		bits := 0
		for m := mask; m&(1<<31) != 0; m <<= 1 {
			bits++
		}
		if bits >= leastRoute {
			routes = append(routes, netip.PrefixFrom(address(uint64(destination)), bits).Masked())
		}
	}
	return routes
}

func parseWord(s string) (uint32, bool) {
	raw, err := hex.DecodeString(s)
	if err != nil || len(raw) != 4 {
		return 0, false
	}
	var swapped [4]byte
	binary.NativeEndian.PutUint32(swapped[:], binary.BigEndian.Uint32(raw))
	return binary.BigEndian.Uint32(swapped[:]), true
}
