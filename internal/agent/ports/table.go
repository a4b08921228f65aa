package ports

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/octobot-run/octobot/internal/agentproto"
)

// maxTable bounds how much of a table is read. The kernel puts sockets that listen first.
const maxTable = 4 << 20

// socket is one that listens.
type socket struct {
	addr  netip.AddrPort
	inode string
}

// listening reads what listens, ordered by port and address.
func (p *ports) listening() ([]socket, error) {
	var all []socket
	for _, name := range []string{"/self/net/tcp", "/self/net/tcp6"} {
		f, err := os.Open(p.proc + name)
		if errors.Is(err, fs.ErrNotExist) && name == "/self/net/tcp6" {
			continue // a kernel without IPv6
		}
		if err != nil {
			return nil, err
		}
		sockets, err := parseTable(io.LimitReader(f, maxTable), agentproto.MaxPorts)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		all = append(all, sockets...)
	}
	slices.SortFunc(all, func(a, b socket) int {
		return cmp.Or(cmp.Compare(a.addr.Port(), b.addr.Port()), a.addr.Compare(b.addr))
	})
	// Several sockets may share an address, each a process's own.
	all = slices.CompactFunc(all, func(a, b socket) bool { return a.addr == b.addr })
	return all[:min(len(all), agentproto.MaxPorts)], nil
}

// parseTable reads at most so many sockets that listen from a table of the kernel's. Lines that are
// none are passed over.
func parseTable(r io.Reader, most int) ([]socket, error) {
	const stateListen = "0A"
	var found []socket
	lines := bufio.NewScanner(r)
	for len(found) < most && lines.Scan() {
		// sl local_address rem_address st tx_queue:rx_queue tr:when retrnsmt uid timeout inode …
		fields := bytes.Fields(lines.Bytes())
		if len(fields) < 10 || string(fields[3]) != stateListen {
			continue
		}
		if addr, ok := parseAddr(string(fields[1])); ok {
			found = append(found, socket{addr: addr, inode: string(fields[9])})
		}
	}
	return found, lines.Err()
}

// parseAddr reads 0100007F:0BB8: words of 32 bits in the machine's order, and the port.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, service, ok := strings.Cut(s, ":")
	port, err := strconv.ParseUint(service, 16, 16)
	b, hexErr := hex.DecodeString(host)
	if !ok || err != nil || hexErr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		binary.NativeEndian.PutUint32(b[i:], binary.BigEndian.Uint32(b[i:]))
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), ok && port != 0
}
