package server_test

import (
	"bytes"
	"io"
	"net/http"
	"testing"
	"time"
)

// TestSlowExportsEnd: an export holds a snapshot, and must not be held by a client
// that takes a little now and then. Each of its pieces is in time.
func TestSlowExportsEnd(t *testing.T) {
	t.Parallel()
	const grace = 300 * time.Millisecond
	for _, c := range []struct {
		name  string
		pause time.Duration // between two reads of 16 KiB
		whole bool
	}{
		{"fast", 0, true},
		{"slow", 20 * time.Millisecond, false}, // 800 KiB a second
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			r.srv.PaceExports(grace, 8<<20)
			ended := make(chan error, 1)
			const pieces = 512 // 32 MiB: more than the buffers between us
			r.export = func(w io.Writer) (int64, int64, error) {
				piece := bytes.Repeat([]byte("0123456789abcde\n"), 4096)
				for range pieces {
					if _, err := w.Write(piece); err != nil {
						ended <- err
						return 0, 0, err
					}
				}
				ended <- nil
				return pieces, pieces, nil
			}
			url, _ := r.listen(t)
			req, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/stats/export?site_id=example.com", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+bootstrap)
			req.Header.Set("Accept-Encoding", "identity")
			began := time.Now()
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			var n int
			piece := make([]byte, 16<<10)
			for err == nil {
				var read int
				read, err = io.ReadFull(res.Body, piece)
				n += read
				time.Sleep(c.pause)
			}
			if whole := n == pieces<<16 && err == io.EOF; whole != c.whole {
				t.Errorf("took %d bytes in %v: %v", n, time.Since(began), err)
			}
			if err := <-ended; (err == nil) != c.whole {
				t.Errorf("the export ended with %v", err)
			}
		})
	}
}
