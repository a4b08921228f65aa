package docker

import (
	"cmp"
	"context"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/distribution/reference"
	dockercontainer "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/octobot-run/octobot/internal/container"
)

// Get inspects the session's container.
func (p *DockerProvider) Get(ctx context.Context, sessionID string) (*container.Container, error) {
	c, err := p.beginCall(ctx, "get", sessionID, nil)
	if err != nil {
		return nil, err
	}
	defer c.Done()
	found, err := c.inspect()
	if err != nil {
		return nil, c.toError(err)
	}
	return fromInspect(sessionID, found.Container), nil
}

// sharingRuntimes are the OCI runtimes whose containers are processes of the host, as engines name
// them; "oci" is Podman's word for the one that it has.
var sharingRuntimes = []string{"", "runc", "crun", "oci", "io.containerd.runc.v2"}

// MainPID asks for the main process.
func (p *DockerProvider) MainPID(ctx context.Context, sessionID string) (int, error) {
	c, err := p.beginCall(ctx, "mainpid", sessionID, nil)
	if err != nil {
		return 0, err
	}
	defer c.Done()
	found, err := c.inspect()
	if err != nil {
		return 0, c.toError(err)
	}
	state, host := found.Container.State, found.Container.HostConfig
	switch {
	case state == nil || state.Pid <= 0 || status(state.Status) != container.StatusRunning:
		return 0, c.toError(container.Errorf("", "", container.ErrContainerStopped, "it has no process"))
	case host != nil && !slices.Contains(sharingRuntimes, host.Runtime):
		return 0, c.toError(container.Errorf("", "", container.ErrUnsupported,
			"the OCI runtime %s has a kernel of its own", host.Runtime))
	}
	return state.Pid, nil
}

// List asks for the containers with this instance's labels.
func (p *DockerProvider) List(ctx context.Context) ([]*container.Container, error) {
	c, err := p.beginEngineCall(ctx, "list")
	if err != nil {
		return nil, err
	}
	defer c.Done()
	res, err := p.client.ContainerList(c.Ctx, client.ContainerListOptions{All: true, Filters: p.ownLabels()})
	if err != nil {
		return nil, c.toError(err)
	}
	inOrderOfCreation(res.Items)
	named := make(map[string]bool, len(res.Items)) // sessions with a container of the right name
	for _, item := range res.Items {
		if session := item.Labels[container.LabelSession]; p.isNamed(session, item) {
			named[session] = true
		}
	}
	list := make([]*container.Container, 0, len(res.Items))
	of := make(map[string]remembered, len(res.Items))
	networks := make(map[string]bool)
	for _, item := range res.Items {
		session := item.Labels[container.LabelSession]
		renamed := !p.isNamed(session, item)
		if !p.ownsLabels(session, item.Labels) || renamed && (named[session] || of[session].id != "") {
			continue
		}
		if renamed {
			ours, err := p.isOriginal(c.Ctx, session, item)
			if err != nil {
				return nil, c.toError(err)
			}
			if !ours {
				continue
			}
		}
		r := p.remember(session, item.ID, item.Labels)
		of[session], networks[r.network] = r, true
		list = append(list, fromSummary(session, item))
	}
	p.sessions.keep(of)
	p.sweepNetworks(networks)
	return list, nil
}

func inOrderOfCreation(items []dockercontainer.Summary) {
	slices.SortFunc(items, func(a, b dockercontainer.Summary) int {
		return cmp.Or(cmp.Compare(a.Created, b.Created), cmp.Compare(a.Labels[labelCreate], b.Labels[labelCreate]),
			cmp.Compare(a.ID, b.ID))
	})
}

// isNamed reports whether a container has the name that its session's was made with.
func (p *DockerProvider) isNamed(session string, item dockercontainer.Summary) bool {
	return slices.Contains(item.Names, "/"+container.Name(session)) && p.ownsLabels(session, item.Labels)
}

func (p *DockerProvider) ownLabels() client.Filters {
	return make(client.Filters).Add("label", container.LabelOctobot+"=true", container.LabelInstance+"="+p.instance)
}

func fromSummary(session string, item dockercontainer.Summary) *container.Container {
	out := &container.Container{
		ID:        item.ID,
		SessionID: session,
		Status:    status(item.State),
		Paused:    item.State == dockercontainer.StatePaused,
		Labels:    publicLabels(item.Labels),
		CreatedAt: time.Unix(item.Created, 0),
		Image:     familiarImage(item.Image),
	}
	if out.Status == container.StatusRunning {
		for _, port := range item.Ports {
			if port.PublicPort != 0 {
				out.Ports = append(out.Ports, container.Port{
					Container: strconv.Itoa(int(port.PrivatePort)) + "/" + port.Type,
					HostIP:    hostIP(port.IP),
					HostPort:  int(port.PublicPort),
				})
			}
		}
		setAddress(out)
	}
	return out
}

func fromInspect(session string, info dockercontainer.InspectResponse) *container.Container {
	out := &container.Container{
		ID:        info.ID,
		SessionID: session,
		CreatedAt: parseTime(info.Created),
		Detailed:  true,
	}
	if conf := info.Config; conf != nil {
		out.Labels, out.Image, out.Tty = publicLabels(conf.Labels), familiarImage(conf.Image), conf.Tty
		out.User = conf.User
		out.SetsHome = slices.ContainsFunc(conf.Env, func(e string) bool {
			// Podman adds its own user's, which does not hold for others.
			return strings.HasPrefix(e, "HOME=") && e != "HOME=/root"
		})
	}
	if state := info.State; state != nil {
		out.Status = status(state.Status)
		out.Paused = state.Paused
		out.StartedAt, out.FinishedAt = parseTime(state.StartedAt), parseTime(state.FinishedAt)
		out.ExitCode, out.OOMKilled = state.ExitCode, state.OOMKilled
		out.Reason = container.Printable(engineRoot.ReplaceAllString(state.Error, ""))
	}
	if out.Status == container.StatusRunning && info.NetworkSettings != nil {
		for port, bindings := range info.NetworkSettings.Ports {
			for _, b := range bindings {
				if n, err := strconv.Atoi(b.HostPort); err == nil && n != 0 {
					out.Ports = append(out.Ports, container.Port{Container: port.String(), HostIP: hostIP(b.HostIP),
						HostPort: n})
				}
			}
		}
		setAddress(out)
	}
	return out
}

// familiarImage is an image's reference as people write it; Podman gives the whole.
func familiarImage(image string) string {
	named, err := reference.ParseNormalizedNamed(image)
	if err != nil {
		return image // an ID
	}
	return reference.FamiliarString(named)
}

// stateStopping is Podman's, of a container that a stop waits for.
const stateStopping dockercontainer.ContainerState = "stopping"

// status maps the engine's states, Docker's and Podman's, to ours.
func status(state dockercontainer.ContainerState) string {
	switch state {
	case dockercontainer.StateCreated, "configured", "initialized":
		return container.StatusCreated
	case dockercontainer.StateRunning, dockercontainer.StatePaused, dockercontainer.StateRestarting, stateStopping:
		return container.StatusRunning
	}
	return container.StatusStopped // exited, stopped, dead, removing
}

// setAddress orders the ports and derives the address from them.
func setAddress(c *container.Container) {
	slices.SortFunc(c.Ports, func(a, b container.Port) int {
		return cmp.Or(cmp.Compare(portNumber(a), portNumber(b)), cmp.Compare(a.Container, b.Container),
			cmp.Compare(a.HostIP, b.HostIP), cmp.Compare(a.HostPort, b.HostPort))
	})
	for _, port := range c.Ports {
		if port.Container == container.SessionPort {
			c.Address = "http://" + net.JoinHostPort(reachableIP(port.HostIP), strconv.Itoa(port.HostPort))
			return
		}
	}
}

func portNumber(p container.Port) int {
	number, _, _ := strings.Cut(p.Container, "/")
	n, _ := strconv.Atoi(number) // the engine's own number
	return n
}

// hostIP gives the address; Podman leaves out the one that means all of them.
func hostIP(ip netip.Addr) string {
	if !ip.IsValid() {
		return "0.0.0.0"
	}
	return ip.String()
}

// reachableIP is an address at which the engine's host reaches what listens on ip.
func reachableIP(ip string) string {
	switch ip {
	case "0.0.0.0":
		return "127.0.0.1"
	case "::":
		return "::1"
	}
	return ip
}

// publicLabels are the labels without those that are the provider's own.
func publicLabels(labels map[string]string) map[string]string {
	out := make(map[string]string, len(labels))
	for k, v := range labels {
		if k != labelCreate && k != labelSpec {
			out[k] = v
		}
	}
	return out
}

// parseTime reads an engine's time; its "0001-01-01T00:00:00Z", Podman's empty text and a Unix
// epoch stand for never.
func parseTime(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() <= 1970 {
		return time.Time{}
	}
	return t
}
