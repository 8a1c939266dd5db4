package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/eider-analytics/eider/server/door"
	"github.com/eider-analytics/eider/store/ledger"
)

// A userInfo is what is told of a user. Times are RFC 3339.
type userInfo struct {
	ID       string `json:"id"`
	Name     string `json:"name"`
	Role     string `json:"role"`
	TOTP     bool   `json:"totp"`
	Passkeys int    `json:"passkeys"`
	Invited  bool   `json:"invited"`
	Created  string `json:"created"`
	LastUsed string `json:"last_used"`
}

func userInfoOf(u ledger.User) userInfo {
	return userInfo{u.ID, u.Name, u.Role, len(u.TOTP) > 0, u.Passkeys, u.Password == "" && u.Passkeys == 0, timeText(u.Created), timeText(u.LastUsed)}
}

func (p *program) passwordCommand() *cobra.Command {
	var factors bool
	cmd := &cobra.Command{
		Use:   "password [NAME]",
		Short: "Set the password of a user, and let everyone try again who has to wait",
		Long: `Set the password of a user (default admin). It is asked for on a terminal, and
else read from standard input, up to the end of the line. All sessions of the user
end, and nobody who has failed to log in has to wait any more.`,
		Example: "  eider password\n  eider password jo --remove-factors < new-password.txt",
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := append(args, door.Admin)[0]
			password, err := p.readPassword(name)
			if err != nil {
				return err
			}
			if err := p.setPassword(cmd.Context(), name, password, factors); err != nil {
				return fmt.Errorf("set password of %s: %w", name, err)
			}
			p.say("set the password of %s; all sessions have ended", name)
			return nil
		},
	}
	cmd.Flags().BoolVar(&factors, "remove-factors", false, "remove the second factor and the passkeys too: for who has lost them")
	return cmd
}

// readPassword asks for a new password, twice on a terminal.
func (p *program) readPassword(name string) (password string, err error) {
	if f, ok := p.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		var typed [2]string
		for i, ask := range []string{"New password for " + name + ": ", "Again: "} {
			fmt.Fprint(p.stderr, ask)
			b, err := term.ReadPassword(int(f.Fd()))
			fmt.Fprintln(p.stderr)
			if err != nil {
				return "", fmt.Errorf("read password: %w", err)
			}
			typed[i] = string(b)
		}
		if typed[0] != typed[1] {
			return "", errors.New("the two are not the same")
		}
		password = typed[0]
	} else {
		line, err := bufio.NewReader(io.LimitReader(p.stdin, 4096)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("read password: %w", err)
		}
		password = strings.TrimRight(line, "\r\n")
	}
	return password, door.CheckPassword(name, password)
}

// usersOf returns the users of a running server.
func usersOf(ctx context.Context, r *remote) ([]userInfo, error) {
	var answer struct {
		Users []userInfo `json:"users"`
	}
	err := r.call(ctx, http.MethodGet, "/api/users", nil, &answer)
	return answer.Users, err
}

// userOf returns the user of a name, or of an id, of a running server.
func userOf(ctx context.Context, r *remote, name string) (userInfo, error) {
	list, err := usersOf(ctx, r)
	if err != nil {
		return userInfo{}, err
	}
	for _, u := range list {
		if strings.EqualFold(u.Name, name) || u.ID == name {
			return u, nil
		}
	}
	return userInfo{}, fmt.Errorf("there is no user %s; eider user list shows who there is", name)
}

// withDoor calls fn with the door of a data directory that no server has.
func (p *program) withDoor(ctx context.Context, name string, fn func(context.Context, *door.Door) error) error {
	return p.withLedger(ctx, name, askServer, func(ctx context.Context, c *config, l *ledger.Ledger) error {
		d, err := openDoor(ctx, c, l, nil)
		if err != nil {
			return err
		}
		return fn(ctx, d)
	})
}

func (p *program) setPassword(ctx context.Context, name, password string, factors bool) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if r != nil {
		u, err := userOf(ctx, r, name)
		if err != nil {
			return err
		}
		change := map[string]any{"password": password, "remove_factors": factors}
		return r.call(ctx, http.MethodPatch, "/api/users/"+url.PathEscape(u.ID), change, nil)
	}
	return p.withDoor(ctx, "password", func(ctx context.Context, d *door.Door) error {
		u, err := d.UserNamed(ctx, name)
		if errors.Is(err, ledger.ErrNotFound) {
			return fmt.Errorf("there is no user %s; make one with: eider user create %s", name, name)
		}
		if err != nil {
			return err
		}
		return d.SetPassword(ctx, u, password, factors)
	})
}

func (p *program) userCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user",
		Short:   "Make, list and remove users",
		Example: "  eider user create jo --role viewer\n  eider user list\n  eider user remove jo",
	}
	cmd.AddCommand(p.userCreateCommand(), p.userListCommand(), p.userRemoveCommand())
	return cmd
}

func (p *program) userCreateCommand() *cobra.Command {
	var role string
	cmd := &cobra.Command{
		Use:     "create NAME",
		Short:   "Make a user; the password is asked for, or read from standard input",
		Example: "  eider user create jo\n  eider user create vi --role viewer < password.txt",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if role != ledger.RoleAdmin && role != ledger.RoleViewer {
				return usageError{fmt.Errorf("--role %s: must be %s or %s", role, ledger.RoleAdmin, ledger.RoleViewer)}
			}
			if err := door.CheckName(name); err != nil {
				return usageError{err}
			}
			password, err := p.readPassword(name)
			if err != nil {
				return err
			}
			if err := p.createUser(cmd.Context(), name, role, password); err != nil {
				return fmt.Errorf("make user %s: %w", name, err)
			}
			p.say("made the %s %s", role, name)
			return nil
		},
	}
	cmd.Flags().StringVar(&role, "role", ledger.RoleAdmin, "admin, or viewer: looks at reports")
	return cmd
}

func (p *program) createUser(ctx context.Context, name, role, password string) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if r != nil {
		return r.call(ctx, http.MethodPost, "/api/users", map[string]string{"name": name, "role": role, "password": password}, nil)
	}
	return p.withDoor(ctx, "user create", func(ctx context.Context, d *door.Door) error {
		_, err := d.Create(ctx, name, role, password)
		return err
	})
}

func (p *program) userListCommand() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the users",
		Example: "  eider user list\n  eider user list --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := p.listUsers(cmd.Context())
			if err != nil {
				return fmt.Errorf("list users: %w", err)
			}
			if asJSON {
				return json.NewEncoder(p.stdout).Encode(list)
			}
			tw := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "ID\tNAME\tROLE\tTOTP\tPASSKEYS\tCREATED\tLAST LOG-IN")
			for _, u := range list {
				last := toSecond(u.LastUsed)
				if last == "" {
					last = "-"
				}
				fmt.Fprintf(tw, "%s\t%s\t%s\t%t\t%d\t%s\t%s\n", u.ID, u.Name, u.Role, u.TOTP, u.Passkeys, toSecond(u.Created), last)
			}
			return tw.Flush()
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return cmd
}

func (p *program) listUsers(ctx context.Context) ([]userInfo, error) {
	r, err := p.remote()
	if err != nil {
		return nil, err
	}
	if r != nil {
		return usersOf(ctx, r)
	}
	list := []userInfo{}
	err = p.withDoor(ctx, "user list", func(ctx context.Context, d *door.Door) error {
		users, err := d.Users(ctx)
		for _, u := range users {
			list = append(list, userInfoOf(u))
		}
		return err
	})
	return list, err
}

func (p *program) userRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove a user with sessions, passkeys and second factor",
		Example: "  eider user remove jo",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := p.removeUser(cmd.Context(), args[0]); err != nil {
				return fmt.Errorf("remove user %s: %w", args[0], err)
			}
			p.say("removed %s", args[0])
			return nil
		},
	}
}

func (p *program) removeUser(ctx context.Context, name string) error {
	r, err := p.remote()
	if err != nil {
		return err
	}
	if r != nil {
		u, err := userOf(ctx, r, name)
		if err != nil {
			return err
		}
		return r.call(ctx, http.MethodDelete, "/api/users/"+url.PathEscape(u.ID), nil, nil)
	}
	return p.withDoor(ctx, "user remove", func(ctx context.Context, d *door.Door) error {
		u, err := d.UserNamed(ctx, name)
		if err != nil {
			return err
		}
		return d.Remove(ctx, u.ID)
	})
}
