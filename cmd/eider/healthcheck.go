package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

func (p *program) healthcheckCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "healthcheck [URL]",
		Short: "Ask a server whether it is ready",
		Long: `Ask a server whether it is ready: exit 0 if it is, 1 with its reasons if it is
not or does not answer within 5 seconds. Without a URL it asks the server on
this machine. An image without a shell can call it as its health check.`,
		Example: "  eider healthcheck\n  eider healthcheck http://127.0.0.1:8080/health",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			url, err := p.healthURL(args)
			if err != nil {
				return err
			}
			return checkHealth(cmd.Context(), url)
		},
	}
}

// healthURL returns the URL to ask: the one given, or that of the server on this
// machine.
func (p *program) healthURL(args []string) (string, error) {
	if len(args) == 1 {
		return args[0], nil
	}
	c, err := p.config()
	if err != nil {
		return "", err
	}
	host := c.host
	switch host {
	case "0.0.0.0":
		host = "127.0.0.1"
	case "::":
		host = "::1"
	}
	return "http://" + net.JoinHostPort(host, strconv.Itoa(c.port)) + "/health/ready", nil
}

func checkHealth(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return usageError{err}
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode == http.StatusOK {
		return nil
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, 4096))
	if err != nil {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	return errors.New(res.Status + ": " + strings.ReplaceAll(strings.TrimSpace(string(body)), "\n", "; "))
}
