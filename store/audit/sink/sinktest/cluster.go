// Package sinktest starts PostgreSQL servers for tests. Only tests import it.
package sinktest

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Cluster is a PostgreSQL server of the test's own, behind a socket in its directory.
type Cluster struct {
	Dir  string // of the data and the socket
	Sync bool   // what is committed is on the disk; tests do without
	cmd  *exec.Cmd
	end  chan struct{} // closed when the server has ended
}

// program returns the path of one of PostgreSQL's own programs.
func program(name string) (string, error) {
	if found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + name); err == nil && len(found) > 0 {
		slices.Sort(found)
		return found[len(found)-1], nil
	}
	return exec.LookPath(name)
}

// Unprivileged has a command run as postgres, where the test runs as root: the server
// refuses that.
func Unprivileged(cmd *exec.Cmd, dir string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	cmd.Dir = dir
	return os.Chown(dir, uid, gid)
}

// NewCluster makes a server and starts it. Whoever has it stops it, and removes Dir.
func NewCluster() (*Cluster, error) {
	dir, err := os.MkdirTemp("", "eider-pg")
	if err != nil {
		return nil, err
	}
	c := &Cluster{Dir: dir}
	initdb, err := program("initdb")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(initdb, "-D", filepath.Join(dir, "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
	if err := Unprivileged(cmd, dir); err != nil {
		return nil, err
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	return c, c.Start()
}

// Start starts the server and waits until it answers.
func (c *Cluster) Start() error {
	postgres, err := program("postgres")
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(c.Dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	c.cmd = exec.Command(postgres, "-D", filepath.Join(c.Dir, "data"), "-k", c.Dir, "-c", "listen_addresses=", "-c", fmt.Sprint("fsync=", c.Sync),
		"-c", "shared_buffers=16MB", "-c", "max_connections=60", "-c", "autovacuum=off")
	c.cmd.Stdout, c.cmd.Stderr = out, out
	if err := Unprivileged(c.cmd, c.Dir); err != nil {
		return err
	}
	c.end = make(chan struct{})
	started := make(chan error)
	go func() {
		// The signal that ends the server with the test comes when the thread ends.
		runtime.LockOSThread()
		err := c.cmd.Start()
		started <- err
		if err == nil {
			c.cmd.Wait()
		}
		close(c.end)
	}()
	if err := <-started; err != nil {
		return err
	}
	for {
		conn, err := pgx.Connect(context.Background(), c.URL("postgres"))
		if err == nil {
			return conn.Close(context.Background())
		}
		select {
		case <-c.end:
			text, _ := os.ReadFile(filepath.Join(c.Dir, "log"))
			return fmt.Errorf("the server has ended: %s", text)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Stop sends SIGINT (a fast stop) or SIGQUIT (as a crash) and waits.
func (c *Cluster) Stop(signal syscall.Signal) {
	c.cmd.Process.Signal(signal)
	<-c.end
}

// URL is that of a database.
func (c *Cluster) URL(database string) string {
	return "postgres://postgres@/" + database + "?host=" + url.QueryEscape(c.Dir)
}
