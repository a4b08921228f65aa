package docker_test

import (
	"context"
	"fmt"
	"log"

	"github.com/octobot-run/octobot/internal/config"
	"github.com/octobot-run/octobot/internal/container"
	"github.com/octobot-run/octobot/internal/container/docker"
)

func Example() {
	ctx := context.Background()
	p, err := docker.NewDockerProvider(&config.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Create(ctx, "demo", container.Options{Image: "debian:12"}); err != nil {
		log.Fatal(err)
	}
	if err := p.Start(ctx, "demo"); err != nil {
		log.Fatal(err)
	}
	res, err := p.Exec(ctx, "demo", []string{"uname", "-s"}, container.ExecOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Print(res.Stdout)
}
