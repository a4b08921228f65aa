// Octobot gives every session a container of its own. See the README.
package main

import (
	"os"

	"github.com/octobot-run/octobot/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
