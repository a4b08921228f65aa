package docker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/octobot-run/octobot/internal/container"
)

// cutInterval is how long a look at the firewall lasts. Whoever reloads it does not ask us.
const cutInterval = 10 * time.Second

// No engine keeps networks apart all the time. Docker takes the rule out by which it does, and puts
// it in again, whenever a network is made: seen by connections that came through meanwhile. Another
// dockerd that starts, or a reload of the firewall, takes it out for longer. So what goes to the
// pool is stopped by rules of our own.
//
// Podman keeps isolated networks apart from each other, but not from its other ones, which a
// session may name. Nor does the isolation last where netavark works through iptables: when any
// isolated network goes, with its last container, it takes the one rule with it by which all of
// them are isolated, and the next container that starts puts it back. As every session has a
// network to itself there, whatever begins on one of Podman's bridges and goes to the pool comes
// from somebody else, and a rule of our own stops it. It is in the table "mangle", which comes
// before the one in which netavark accepts things. It needs root on the engine's host.

// cutPool has the host's firewall drop what begins elsewhere and goes to a session, unless it does
// already.
func (p *DockerProvider) cutPool(ctx context.Context) error {
	p.networks.cutting.Lock()
	defer p.networks.cutting.Unlock()
	if time.Since(p.networks.cut) < cutInterval {
		return nil
	}
	for _, rule := range p.cutRules() {
		there, err := p.hasRule(ctx, rule)
		if err == nil && !there {
			err = iptables(ctx, "-I", rule)
		}
		if err != nil {
			return err
		}
	}
	p.networks.cut = time.Now()
	return nil
}

// canCutPool asks the host's firewall, and changes nothing.
func (p *DockerProvider) canCutPool(ctx context.Context) error {
	_, err := p.hasRule(ctx, p.cutRules()[0])
	return err
}

// cutRules are between bridges that Podman makes, so that a pool which is wider than what is ours
// keeps nothing else apart; answers to what a session has begun pass. On Docker they are about what
// comes from the pool, and about what comes from bridges with names like Docker's, unless it goes
// to a published port: a bridge of the host's own may have such a name, and be where those are whom
// the port was published for.
func (p *DockerProvider) cutRules() (rules [][]string) {
	pool := p.networks.subnets.pool
	rule := func(match ...string) {
		rules = append(rules, slices.Concat([]string{"FORWARD"}, match,
			[]string{"-m", "comment", "--comment", container.LabelPrefix, "-j", "DROP"}))
	}
	for _, to := range pool {
		if p.podman() {
			rule("-i", "podman+", "-o", "podman+", "-d", to.String(), "-m", "conntrack", "--ctstate", "NEW")
			continue
		}
		for _, from := range pool {
			rule("-s", from.String(), "-d", to.String())
		}
		for _, bridge := range []string{"docker0", "br-+"} {
			rule("-i", bridge, "-d", to.String(), "-m", "conntrack", "--ctstate", "NEW",
				"-m", "conntrack", "!", "--ctstate", "DNAT")
		}
	}
	return rules
}

func (p *DockerProvider) hasRule(ctx context.Context, rule []string) (bool, error) {
	switch {
	case !strings.HasPrefix(p.engine.Host, "unix://"):
		return false, errors.New("the engine is on another host")
	case os.Geteuid() != 0:
		return false, errors.New("this process is not root")
	}
	err := iptables(ctx, "-C", rule)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == 1 {
		return false, nil
	}
	return err == nil, err
}

func iptables(ctx context.Context, do string, rule []string) error {
	said, err := exec.CommandContext(ctx, "iptables",
		append([]string{"-w", "5", "-t", "mangle", do}, rule...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("iptables: %w: %s", err, strings.TrimSpace(string(said)))
	}
	return nil
}
