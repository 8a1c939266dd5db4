package main_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/argon2"
)

// logIns: what a log-in takes of processor, beside its password hash alone, and what a
// hundred at once take of memory.
func (c *claims) logIns(t *testing.T) {
	d := claimRig(t, "EIDER_ADMIN_PASSWORD="+adminPassword).start()
	defer d.stop()
	logIn := func(password string) (status int) {
		status, _, err := d.ask(http.MethodPost, "/api/auth/login", "application/json", []byte(`{"username":"admin","password":"`+password+`"}`))
		if err != nil {
			t.Error(err)
		}
		return status
	}
	quiet := d.peakRSS()
	const n = 60
	var took latencies
	before := d.cpu()
	for range n {
		began := time.Now()
		if status := logIn(adminPassword); status != http.StatusOK {
			t.Fatalf("a log-in was answered with %d", status)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	cost := (d.cpu() - before) / n
	salt := make([]byte, 16)
	rand.Read(salt)
	began := time.Now()
	for range n {
		argon2.IDKey([]byte(adminPassword), salt, 2, 19<<10, 1, 32)
	}
	bare := time.Since(began) / n
	c.add(fmt.Sprintf("processor time of a log-in; p50 %s, p95 %s", ms(took.at(0.5)), ms(took.at(0.95))), ms(cost), "Argon2id alone "+ms(bare), float64(bare)/float64(cost), "", true)

	var wg sync.WaitGroup
	for i := range 100 {
		wg.Go(func() { logIn(fmt.Sprint("guess ", i)) })
	}
	wg.Wait()
	more := d.peakRSS() - quiet
	c.add("memory that these, and then a hundred guesses at once, add to the peak RSS", fmt.Sprintf("%.0f MB", float64(more)/1e6), "one password, hashed: 20 MB", float64(more)/(19<<20), "", true)
}
