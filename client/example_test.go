package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	v1 "github.com/octobot-run/octobot/api/v1"
	"github.com/octobot-run/octobot/client"
)

// Make a session, run a command in it, and close it.
func Example() {
	ctx := context.Background()
	c, err := client.New(client.Options{URL: "http://127.0.0.1:7080", Token: os.Getenv("OCTOBOT_TOKEN")})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()

	s, err := c.CreateSession(ctx, v1.CreateSessionRequest{Project: "demo"}, nil)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = c.DeleteSession(ctx, s.ID) }()

	result, err := c.Exec(ctx, s.ID, v1.ExecRequest{Cmd: []string{"uname", "-s"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%d %s", result.ExitCode, result.Stdout)
}

// Pipe any amount of data through a command.
func ExampleClient_ExecStream() {
	c, err := client.New(client.Options{Socket: "/var/lib/octobot/octobot.sock"})
	if err != nil {
		log.Fatal(err)
	}
	code, err := c.ExecStream(context.Background(), "demo",
		v1.ExecRequest{Cmd: []string{"tar", "-xf", "-", "-C", "/tmp"}},
		client.Streams{Stdin: os.Stdin, Stdout: os.Stdout, Stderr: os.Stderr})
	if err != nil {
		log.Fatal(err)
	}
	os.Exit(code)
}

// Tell what went wrong, and what to do about it.
func ExampleError() {
	c, err := client.New(client.Options{Socket: "/var/lib/octobot/octobot.sock"})
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.GetSession(context.Background(), "demo")
	if e, ok := errors.AsType[*client.Error](err); ok && e.Code == v1.CodeSessionNotFound {
		fmt.Println(e, "-", e.Hint)
	}
}

// Sit at a terminal of a session.
func ExampleClient_Attach() {
	c, err := client.New(client.Options{Socket: "/var/lib/octobot/octobot.sock"})
	if err != nil {
		log.Fatal(err)
	}
	terminal, err := c.Attach(context.Background(), "demo", client.AttachOptions{Rows: 24, Cols: 80})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = terminal.Close() }()
	go func() { _, _ = io.Copy(terminal, os.Stdin) }()
	_, _ = io.Copy(os.Stdout, terminal)
	code, err := terminal.ExitCode()
	fmt.Println(code, err)
}

// Follow what happens to a project's sessions.
func ExampleClient_Events() {
	c, err := client.New(client.Options{Socket: "/var/lib/octobot/octobot.sock"})
	if err != nil {
		log.Fatal(err)
	}
	for event, err := range c.Events(context.Background(), "demo") {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(event.Kind, event.SessionID, event.Reason)
	}
}
