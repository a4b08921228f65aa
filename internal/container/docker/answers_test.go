package docker

import "github.com/octobot-run/octobot/internal/container"

// situation is trouble that engines are brought into. What they answered in it is recorded: it is
// all that tells some trouble from other.
type situation struct {
	name string
	// requests are "METHOD /path body", where the body may be left out. The answer to the first
	// that is refused is recorded. NAME is a container's name, ID that of the last exec that was
	// made, SPEC the beginning of what a container is made from, an object that is to be closed,
	// and TAR an archive of one file. "LISTEN address" has the test listen there.
	requests []string
	want     error             // the class of that answer
	others   map[string]error  // the classes of the answers of single engines, where they differ
	refine   func(error) error // what an operation makes of the answer first; may be nil
	except   string            // the engine that sees no trouble in it; may be empty
}

const (
	createIt = `POST /containers/create?name=NAME SPEC}`
	startIt  = `POST /containers/NAME/start`
	pauseIt  = `POST /containers/NAME/pause`
	execTrue = `POST /containers/NAME/exec {"Cmd":["true"]}`
)

var situations = []situation{
	{name: "inspect without a container", want: container.ErrContainerNotFound,
		requests: []string{`GET /containers/NAME/json`}},
	{name: "start without a container", want: container.ErrContainerNotFound, requests: []string{startIt}},
	{name: "stop without a container", want: container.ErrContainerNotFound,
		requests: []string{`POST /containers/NAME/stop`}},
	{name: "remove without a container", want: container.ErrContainerNotFound,
		requests: []string{`DELETE /containers/NAME?force=1`}},
	{name: "exec without a container", want: container.ErrContainerNotFound, requests: []string{execTrue}},
	{name: "archive without a container", want: container.ErrContainerNotFound, refine: pathError,
		requests: []string{`GET /containers/NAME/archive?path=/`}},
	{name: "name in use", want: container.ErrContainerExists, requests: []string{createIt, createIt}},

	{name: "no such image", want: container.ErrImageNotFound, requests: []string{
		`POST /containers/create?name=NAME {"Image":"localhost:1/missing:none","Cmd":["true"]}`}},
	{name: "image of another platform", want: container.ErrImageNotFound, except: "podman", requests: []string{
		`POST /containers/create?name=NAME&platform=linux/arm64 SPEC}`}},
	{name: "no registry", want: container.ErrImageNotFound, refine: pullError, except: "podman", requests: []string{
		`POST /images/create?fromImage=localhost:1/missing&tag=none`}},
	{name: "image without a command", want: container.ErrInvalidArgument,
		others: map[string]error{podman4: container.ErrRefused},
		requests: []string{
			`POST /images/create?fromSrc=-&repo=octobot-empty:latest TAR`,
			`POST /containers/create?name=NAME {"Image":"octobot-empty:latest"}`}},

	{name: "working directory is a file", want: container.ErrRefused, requests: []string{
		`POST /containers/create?name=NAME SPEC,"WorkingDir":"/etc/passwd"}`, startIt}},
	{name: "working directory below a file", want: container.ErrRefused, requests: []string{
		`POST /containers/create?name=NAME SPEC,"WorkingDir":"/etc/passwd/x"}`, startIt}},
	{name: "no such OCI runtime", want: container.ErrInvalidArgument, except: "podman", requests: []string{
		`POST /containers/create?name=NAME SPEC,"HostConfig":{"Runtime":"missing"}}`, startIt}},
	{name: "too little memory", want: container.ErrInvalidArgument, except: "podman", requests: []string{
		`POST /containers/create?name=NAME SPEC,"HostConfig":{"Memory":4096}}`}},
	{name: "bad name of a volume", want: container.ErrInvalidArgument,
		others: map[string]error{podman4: container.ErrRefused},
		requests: []string{
			`POST /containers/create?name=NAME SPEC,"HostConfig":{"Binds":["a b:/x"]}}`}},
	{name: "no such log driver", want: container.ErrInvalidArgument,
		others: map[string]error{podman4: container.ErrRefused},
		requests: []string{
			`POST /containers/create?name=NAME SPEC,"HostConfig":{"LogConfig":{"Type":"missing"}}}`}},
	{name: "no such user", want: container.ErrExecFailed, requests: []string{
		`POST /containers/create?name=NAME SPEC,"User":"missing"}`, startIt}},
	{name: "no such group", want: container.ErrExecFailed, requests: []string{
		`POST /containers/create?name=NAME SPEC,"User":"root:missing"}`, startIt}},
	{name: "no such command", want: container.ErrExecFailed, requests: []string{
		`POST /containers/create?name=NAME SPEC,"Cmd":["missing"]}`, startIt}},
	{name: "command is not executable", want: container.ErrExecFailed, requests: []string{
		`POST /containers/create?name=NAME SPEC,"Cmd":["/etc/passwd"]}`, startIt}},
	{name: "port is a container's", want: container.ErrPortTaken, requests: []string{
		`POST /containers/create?name=NAME-first SPEC,"ExposedPorts":{"80/tcp":{}},` +
			`"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18733"}]}}}`,
		`POST /containers/NAME-first/start`,
		`POST /containers/create?name=NAME SPEC,"ExposedPorts":{"80/tcp":{}},` +
			`"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18733"}]}}}`, startIt}},
	{name: "port is a process's", want: container.ErrPortTaken, requests: []string{`LISTEN 127.0.0.1:18734`,
		`POST /containers/create?name=NAME SPEC,"ExposedPorts":{"80/tcp":{}},` +
			`"HostConfig":{"PortBindings":{"80/tcp":[{"HostIp":"127.0.0.1","HostPort":"18734"}]}}}`, startIt}},

	{name: "start of a paused one", want: container.ErrContainerStopped,
		others:   map[string]error{docker20: container.ErrRefused, docker29: container.ErrRefused},
		requests: []string{createIt, startIt, pauseIt, startIt}},
	{name: "stop of a paused one", want: container.ErrContainerStopped, except: "docker",
		requests: []string{createIt, startIt, pauseIt, `POST /containers/NAME/stop?t=1`}},
	{name: "kill of one that does not run", want: container.ErrContainerStopped,
		requests: []string{createIt, `POST /containers/NAME/kill`}},
	{name: "pause of one that does not run", want: container.ErrContainerStopped,
		requests: []string{createIt, pauseIt}},
	{name: "pause of a paused one", want: container.ErrContainerStopped,
		others:   map[string]error{docker20: container.ErrRefused, docker29: container.ErrRefused},
		requests: []string{createIt, startIt, pauseIt, pauseIt}},
	{name: "processes of one that does not run", want: container.ErrContainerStopped, except: "podman",
		requests: []string{createIt, `GET /containers/NAME/top`}},
	{name: "exec in one that does not run", want: container.ErrContainerStopped,
		requests: []string{createIt, execTrue}},
	{name: "exec in a paused one", want: container.ErrContainerPaused,
		requests: []string{createIt, startIt, pauseIt, execTrue}},
	{name: "start of an exec in a paused one", want: container.ErrContainerPaused,
		requests: []string{createIt, startIt, execTrue, pauseIt, `POST /exec/ID/start {"Detach":true}`}},
	{name: "start of an exec in one that has ended", want: container.ErrContainerStopped,
		others: map[string]error{docker20: container.ErrRefused, docker29: container.ErrRefused},
		requests: []string{
			createIt, startIt, execTrue, `POST /containers/NAME/kill`, `POST /containers/NAME/wait`,
			`POST /exec/ID/start {"Detach":true}`}},
	{name: "exec of no such command", want: container.ErrExecFailed, requests: []string{createIt, startIt,
		`POST /containers/NAME/exec {"Cmd":["missing"]}`, `POST /exec/ID/start {"Detach":true}`}},
	{name: "exec of what is not executable", want: container.ErrExecFailed, requests: []string{createIt, startIt,
		`POST /containers/NAME/exec {"Cmd":["/etc/passwd"]}`, `POST /exec/ID/start {"Detach":true}`}},
	{name: "exec as no such user", want: container.ErrExecFailed, requests: []string{createIt, startIt,
		`POST /containers/NAME/exec {"Cmd":["true"],"User":"missing"}`, `POST /exec/ID/start {"Detach":true}`}},
	{name: "exec in no such directory", want: container.ErrExecFailed, requests: []string{createIt, startIt,
		`POST /containers/NAME/exec {"Cmd":["true"],"WorkingDir":"/missing"}`, `POST /exec/ID/start {"Detach":true}`}},
	{name: "no such exec", want: container.ErrRefused, requests: []string{`GET /exec/none/json`}},

	{name: "look at no such path", want: container.ErrPathNotFound, refine: pathError,
		requests: []string{createIt, `HEAD /containers/NAME/archive?path=/missing`}},
	{name: "archive of no such path", want: container.ErrPathNotFound, refine: pathError,
		requests: []string{createIt, `GET /containers/NAME/archive?path=/missing`}},
	{name: "archive of a path below a file", want: container.ErrPathNotFound, refine: pathError,
		requests: []string{createIt, `GET /containers/NAME/archive?path=/etc/passwd/x`}},
	{name: "archive into no such path", want: container.ErrPathNotFound, refine: pathError, except: "podman",
		requests: []string{createIt, `PUT /containers/NAME/archive?path=/missing TAR`}},
	{name: "archive onto a file", want: container.ErrPathNotFound, refine: pathError,
		requests: []string{createIt, `PUT /containers/NAME/archive?path=/etc/passwd TAR`}},
	{name: "archive into a path below a file", want: container.ErrPathNotFound, refine: pathError,
		requests: []string{createIt, `PUT /containers/NAME/archive?path=/etc/passwd/x TAR`}},

	{name: "no such network", want: container.ErrInvalidArgument, requests: []string{`GET /networks/octobot-missing`}},
	{name: "container of no such network", want: container.ErrInvalidArgument, requests: []string{
		`POST /containers/create?name=NAME SPEC,"HostConfig":{"NetworkMode":"octobot-missing"}}`, startIt}},
	{name: "container of a network that is gone", want: container.ErrInvalidArgument,
		others: map[string]error{podman4: container.ErrRefused},
		requests: []string{`POST /networks/create {"Name":"octobot-gone"}`,
			`POST /containers/create?name=NAME SPEC,"HostConfig":{"NetworkMode":"octobot-gone"}}`,
			`DELETE /networks/octobot-gone`, startIt}},
	{name: "network's name in use", want: container.ErrRefused, requests: []string{
		`POST /networks/create {"Name":"octobot-twice","CheckDuplicate":true}`,
		`POST /networks/create {"Name":"octobot-twice","CheckDuplicate":true}`}},
	{name: "network's subnet in use", want: container.ErrRefused, requests: []string{
		`POST /networks/create {"Name":"octobot-a","IPAM":{"Config":[{"Subnet":"10.213.7.0/24"}]}}`,
		`POST /networks/create {"Name":"octobot-b","IPAM":{"Config":[{"Subnet":"10.213.7.0/24"}]}}`}},
	{name: "network that a container is on", want: container.ErrRefused, requests: []string{
		`POST /networks/create {"Name":"octobot-busy"}`,
		`POST /containers/create?name=NAME SPEC,"HostConfig":{"NetworkMode":"octobot-busy"}}`, startIt,
		`DELETE /networks/octobot-busy`}},
	{name: "network without a free address", want: container.ErrRefused, requests: []string{
		`POST /networks/create {"Name":"octobot-tiny","IPAM":{"Config":[{"Subnet":"10.213.8.0/30"}]}}`,
		`POST /containers/create?name=NAME-a SPEC,"HostConfig":{"NetworkMode":"octobot-tiny"}}`,
		`POST /containers/NAME-a/start`,
		`POST /containers/create?name=NAME SPEC,"HostConfig":{"NetworkMode":"octobot-tiny"}}`, startIt}},

	{name: "no such request", want: container.ErrRefused, requests: []string{`GET /octobot-missing`}},
}
