package audit

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// witnessTimeout bounds how long a checkpoint waits for its cosignature.
const witnessTimeout = 5 * time.Second

// A Witness is a server of somebody else that cosigns the checkpoints of a chain, and
// only those that continue the last one it has cosigned (c2sp.org/tlog-witness).
type Witness struct {
	url    string
	name   string
	public ed25519.PublicKey
	client *http.Client

	mu   sync.Mutex
	size int64 // of the last checkpoint that it has cosigned, as far as we know
}

// ParseWitness reads "<verifier key> <URL>": the key of the witness as it publishes
// it, name+hash+key, and the URL below which it has add-checkpoint.
func ParseWitness(s string) (*Witness, error) {
	key, address, _ := strings.Cut(strings.TrimSpace(s), " ")
	name, public, err := parseCosigner(key)
	if err != nil {
		return nil, fmt.Errorf("witness: %w", err)
	}
	u, err := url.Parse(strings.TrimSpace(address))
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, errors.New("witness: it has no URL; write <verifier key> <URL>")
	}
	return &Witness{
		url: u.JoinPath("add-checkpoint").String(), name: name, public: public,
		client: &http.Client{Timeout: witnessTimeout},
	}, nil
}

// parseCosigner reads a verifier key whose owner cosigns with Ed25519: of the
// algorithm of cosignatures, or of plain Ed25519 as older witnesses publish it.
func parseCosigner(text string) (name string, public ed25519.PublicKey, err error) {
	name, rest, _ := strings.Cut(text, "+")
	hash, code, _ := strings.Cut(rest, "+")
	raw, bad := base64.StdEncoding.DecodeString(code)
	sum, worse := strconv.ParseUint(hash, 16, 32)
	if bad != nil || worse != nil || len(hash) != 8 || name == "" || len(raw) != 1+ed25519.PublicKeySize ||
		raw[0] != algEd25519 && raw[0] != algCosignature || keyHash(name, raw[0], raw[1:]) != uint32(sum) {
		return "", nil, fmt.Errorf("%.200q is no verifier key of Ed25519 (name+hash+key)", text)
	}
	return name, raw[1:], nil
}

// Cosign returns the note of a checkpoint with the signature of the witness.
func (w *Witness) Cosign(ctx context.Context, log tlog.HashReader, c Checkpoint) ([]byte, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range 2 {
		line, size, err := w.add(ctx, log, c)
		if err != nil {
			return nil, fmt.Errorf("ask witness %s: %w", w.name, err)
		}
		if line != "" {
			w.size = c.Size
			return append(bytes.Clone(c.Note), line...), nil
		}
		if size > c.Size {
			return nil, &RolledBack{Known{Where: "witness " + w.name, Origin: c.Origin, Size: size}, c.Size, fmt.Sprintf("only %d", c.Size)}
		}
		w.size = size
	}
	return nil, fmt.Errorf("ask witness %s: it names another size every time", w.name)
}

// add sends a checkpoint. It returns the line of the signature, or the size that the
// witness knows of.
func (w *Witness) add(ctx context.Context, log tlog.HashReader, c Checkpoint) (line string, size int64, err error) {
	var body bytes.Buffer
	fmt.Fprintf(&body, "old %d\n", w.size)
	if w.size > 0 && w.size < c.Size {
		proof, err := proveConsistency(log, w.size, c.Size)
		if err != nil {
			return "", 0, err
		}
		for _, h := range proof {
			fmt.Fprintln(&body, h)
		}
	}
	fmt.Fprintf(&body, "\n%s", c.Note)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, w.url, &body)
	if err != nil {
		return "", 0, err
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return "", 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxNote))
	switch {
	case err != nil:
		return "", 0, err
	case resp.StatusCode == http.StatusOK:
		line, err := w.find(string(answer), c)
		return line, 0, err
	case resp.StatusCode == http.StatusConflict:
		size, err := strconv.ParseInt(strings.TrimSpace(string(answer)), 10, 64)
		if err != nil || size < 0 {
			return "", 0, fmt.Errorf("it answers %q for a size", answer)
		}
		return "", size, nil
	}
	return "", 0, fmt.Errorf("it answers %s", resp.Status)
}

// find returns the line of the witness's own signature.
func (w *Witness) find(answer string, c Checkpoint) (string, error) {
	for line := range strings.Lines(answer) {
		s, err := parseSignature(strings.TrimSuffix(line, "\n"))
		if err == nil && strings.HasSuffix(line, "\n") && s.Name == w.name && s.cosigns(w.public, c.text()) {
			return line, nil
		}
	}
	return "", errors.New("its answer has no valid signature by it")
}

// cosigns reports whether a signature is a cosignature/v1 of a text: of eight bytes of
// time and 64 of Ed25519.
func (s *Signature) cosigns(public ed25519.PublicKey, text string) bool {
	if s.Hash != keyHash(s.Name, algCosignature, public) || len(s.sig) != 8+ed25519.SignatureSize {
		return false
	}
	at := binary.BigEndian.Uint64(s.sig)
	return ed25519.Verify(public, fmt.Appendf(nil, "cosignature/v1\ntime %d\n%s", at, text), s.sig[8:])
}
