package audit

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// fsckTimeout is how long Tessera's fsck may take: once it has found something it may
// wait for ever.
const fsckTimeout = 5 * time.Second

// TestFsck lets an auditor's tool that knows nothing of Eider verify the tiles, with
// nothing but the key.
func TestFsck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	tool := filepath.Join(dir, "fsck")
	build := exec.Command("go", "build", "-o", tool, "github.com/transparency-dev/tessera/cmd/fsck")
	build.Dir = filepath.Join("..", "..", ".ci", "fsck")
	build.Env = append(os.Environ(), "GOFLAGS=", "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build fsck: %v\n%s", err, out)
	}
	m := newMemory(t, "test", seedA)
	m.fill(t, 299)
	m.sign(t)
	tiles, key := filepath.Join(dir, "tiles"), filepath.Join(dir, "key")
	if err := WriteTiles(t.Context(), m, tiles); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, []byte(seedA.Verifier(m.chain.Origin())+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	accepts := func(ctx context.Context, tiles string) (bool, string) {
		cmd := exec.CommandContext(ctx, tool, "-ui=false", "-storage_url=file://"+tiles+"/", "-public_key="+key)
		out, err := cmd.CombinedOutput()
		// Its exit code is 0 whatever it has found.
		return err == nil && strings.Contains(string(out), "Successfully fsck'd") && !strings.Contains(string(out), "fsck failed"), string(out)
	}
	if ok, out := accepts(t.Context(), tiles); !ok {
		t.Fatalf("fsck does not accept what nobody has touched:\n%s", out)
	}
	for _, path := range []string{"checkpoint", "tile/0/000", "tile/0/001.p/44", "tile/1/000.p/1", "tile/entries/000", "tile/entries/001.p/44"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			other := filepath.Join(t.TempDir(), "tiles")
			if err := os.CopyFS(other, os.DirFS(tiles)); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(filepath.Join(other, path))
			if err != nil {
				t.Fatal(err)
			}
			text[len(text)/2] ^= 1
			if err := os.WriteFile(filepath.Join(other, path), text, 0o600); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), fsckTimeout)
			defer cancel()
			if ok, out := accepts(ctx, other); ok {
				t.Errorf("fsck accepts another bit:\n%s", out)
			}
		})
	}
}
