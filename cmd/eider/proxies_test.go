package main_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// proxied is the name that the files in deploy give to the server.
const proxied = "stats.example.com"

// A front is a proxy before the server, on this machine.
type front struct {
	*rig
	dir, addr string
	roots     *x509.CertPool
}

// TestProxies runs the server behind nginx and behind Caddy, with the files in deploy as they
// are but for ports and certificates: it learns the visitor's address, whatever he says
// of himself, and what is long or live comes through.
func TestProxies(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(f *front, backend string) *exec.Cmd{"nginx": nginx, "caddy": caddy} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, normal, "EIDER_TRUSTED_PROXY=X-Forwarded-For 127.0.0.1/32", "EIDER_DASHBOARD_ORIGIN=https://"+proxied)
			d := r.start()
			f := &front{rig: r, dir: t.TempDir(), addr: fmt.Sprint("127.0.0.1:", freePort(t))}
			f.certify()
			f.run(begin(f, strings.TrimPrefix(d.url, "http://")))
			d.must(http.MethodPost, "/api/sites", map[string]string{"domain": site}, nil)
			for series, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
				f.asked(protocol, series)
			}
			f.socket()
			d.stop()
		})
	}
}

// nginx includes deploy/nginx.conf, as its first line says.
func nginx(f *front, backend string) *exec.Cmd {
	f.adapt("nginx.conf", "site.conf",
		"listen 443 ssl", "listen "+f.addr+" ssl", "	listen [::]:443 ssl http2;\n", "",
		"listen 80;", fmt.Sprintf("listen 127.0.0.1:%d;", freePort(f.TB.(*testing.T))), "	listen [::]:80;\n", "",
		"/etc/letsencrypt/live/"+proxied+"/fullchain.pem", f.dir+"/cert.pem", "/etc/letsencrypt/live/"+proxied+"/privkey.pem", f.dir+"/key.pem",
		"127.0.0.1:8080", backend)
	conf := fmt.Sprintf(`daemon off; pid %[1]s/pid; error_log stderr; events {} http { access_log off;
		client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
		include %[1]s/site.conf; }`, f.dir)
	if err := os.WriteFile(f.dir+"/nginx.conf", []byte(conf), 0o600); err != nil {
		f.Fatal(err)
	}
	path, err := exec.LookPath("nginx")
	if err != nil {
		path = "/usr/sbin/nginx" // which not everybody has in his PATH
	}
	return exec.Command(path, "-e", "stderr", "-c", f.dir+"/nginx.conf")
}

func caddy(f *front, backend string) *exec.Cmd {
	f.adapt("Caddyfile", "Caddyfile",
		proxied+" {", fmt.Sprintf("{\n\tadmin off\n\tauto_https disable_redirects\n}\n\nhttps://%s%s {\n\tbind 127.0.0.1\n\ttls %s/cert.pem %[3]s/key.pem", proxied, strings.TrimPrefix(f.addr, "127.0.0.1"), f.dir),
		"127.0.0.1:8080", backend)
	cmd := exec.Command("caddy", "run", "--config", f.dir+"/Caddyfile", "--adapter", "caddyfile")
	cmd.Env = append(os.Environ(), "HOME="+f.dir, "XDG_DATA_HOME="+f.dir, "XDG_CONFIG_HOME="+f.dir)
	return cmd
}

// adapt copies a file of deploy with some texts, each of which must be in it, replaced.
func (f *front) adapt(from, to string, pairs ...string) {
	f.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "deploy", from))
	if err != nil {
		f.Fatal(err)
	}
	for i := 0; i < len(pairs); i += 2 {
		if !bytes.Contains(text, []byte(pairs[i])) {
			f.Fatalf("%s has no %q", from, pairs[i])
		}
	}
	if err := os.WriteFile(filepath.Join(f.dir, to), []byte(strings.NewReplacer(pairs...).Replace(string(text))), 0o600); err != nil {
		f.Fatal(err)
	}
}

// certify makes a certificate of proxied for an hour.
func (f *front) certify() {
	f.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	cert := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{proxied}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, cert, key.Public(), key)
	if err != nil {
		f.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		f.Fatal(err)
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	f.roots = x509.NewCertPool()
	f.roots.AppendCertsFromPEM(public)
	for name, text := range map[string][]byte{"cert.pem": public, "key.pem": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})} {
		if err := os.WriteFile(filepath.Join(f.dir, name), text, 0o600); err != nil {
			f.Fatal(err)
		}
	}
}

// run starts the proxy, waits until it listens, and ends it with the test.
func (f *front) run(cmd *exec.Cmd) {
	f.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		f.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	f.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		<-ended
		if f.Failed() {
			f.Logf("%s said: %s", cmd.Path, said.Bytes())
		}
	})
	for range 500 {
		conn, err := net.Dial("tcp", f.addr)
		if err == nil {
			conn.Close()
			return
		}
		select {
		case err := <-ended:
			ended <- err
			f.Fatalf("%s ended: %v", cmd.Path, err)
		case <-time.After(20 * time.Millisecond):
		}
	}
	f.Fatalf("%s does not listen on %s", cmd.Path, f.addr)
}

// client returns one that finds the proxy, as somebody at 127.0.0.2.
func (f *front) client(protocol string) *http.Client {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: f.roots},
		ForceAttemptHTTP2: protocol == "HTTP/2.0",
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return from.DialContext(ctx, network, f.addr)
		},
	}
	if protocol == "HTTP/1.1" {
		tr.TLSClientConfig.NextProtos = []string{"http/1.1"}
	}
	f.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr}
}

// asked asks by one protocol for all kinds of things.
func (f *front) asked(protocol string, series int) {
	f.Helper()
	client := f.client(protocol)
	do := func(method, path, body string, header ...string) (int, string, *http.Response) {
		f.Helper()
		req, err := http.NewRequest(method, "https://"+proxied+path, strings.NewReader(body))
		if err != nil {
			f.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		res, err := client.Do(req)
		if err != nil {
			f.Fatalf("%s %s: %v", method, path, err)
		}
		if strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
			return res.StatusCode, "", res
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil {
			f.Errorf("%s %s: %v", method, path, err)
		}
		return res.StatusCode, string(text), res
	}
	auth := []string{"Authorization", "Bearer " + apiKey}
	status, text, res := do("GET", "/health", "")
	if status != 200 || res.Proto != protocol {
		f.Errorf("health: %d %s by %s, want 200 by %s", status, text, res.Proto, protocol)
	}
	if status, _, _ := do("GET", "/metrics", ""); status != 404 {
		f.Errorf("metrics: %d, want 404", status)
	}
	pageview := fmt.Sprintf(`{"n":"pageview","u":"https://%s/","d":%[1]q}`, site)
	if _, text, _ := do("POST", "/api/event", pageview, "X-Forwarded-For", "198.51.100.9", "X-Debug-Request", "true"); text != "127.0.0.2" {
		f.Errorf("the client is taken for %q, want 127.0.0.2", text)
	}
	status, _, live := do("GET", "/api/tail?site_id="+site, "", auth...)
	if status != 200 || live.Header.Get("Content-Type") == "" {
		f.Fatalf("tail: %d", status)
	}
	defer live.Body.Close()
	if status, text, _ := do("POST", "/api/event", pageview, "User-Agent", browser); status != 202 {
		f.Errorf("event: %d %s", status, text)
	}
	var seen []byte
	for b := make([]byte, 4096); !bytes.Contains(seen, []byte("pageview")); {
		n, err := live.Body.Read(b)
		if seen = append(seen, b[:n]...); err != nil {
			f.Fatalf("tail: %v after %q", err, seen)
		}
	}
	const days, each = 4, 20_000 // takes longer than an answer to begin would
	status, text, _ = do("POST", imports, string(accessLog(series, days, each)), append(auth, "Content-Type", "text/plain")...)
	if want := fmt.Sprintf(`"imported":%d,"duplicates":0,"skipped":{}`, days*each); status != 200 || !strings.Contains(text, want) {
		f.Errorf("import: %d %s, want %s", status, text, want)
	}
	status, text, _ = do("GET", "/api/stats/export?format=ndjson&period=all&site_id="+site, "", auth...)
	if got, want := strings.Count(text, "\n"), (series+1)*(days*each+1); status != 200 || got != want {
		f.Errorf("export: %d with %d events, want %d", status, got, want)
	}
}

// socket reads the tail as a WebSocket.
func (f *front) socket() {
	f.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	client := f.client("HTTP/1.1")
	conn, _, err := websocket.Dial(ctx, "wss://"+proxied+"/api/tail?site_id="+site, &websocket.DialOptions{
		HTTPClient: client, HTTPHeader: http.Header{"Authorization": {"Bearer " + apiKey}},
	})
	if err != nil {
		f.Errorf("WebSocket: %v", err)
		return
	}
	defer conn.CloseNow()
	pageview := fmt.Sprintf(`{"n":"pageview","u":"https://%s/","d":%[1]q}`, site)
	req, _ := http.NewRequest(http.MethodPost, "https://"+proxied+"/api/event", strings.NewReader(pageview))
	req.Header.Set("User-Agent", browser)
	res, err := client.Do(req)
	if err != nil {
		f.Fatal(err)
	}
	res.Body.Close()
	for {
		_, text, err := conn.Read(ctx)
		if err != nil {
			f.Errorf("WebSocket: %v", err)
			return
		}
		if bytes.Contains(text, []byte("pageview")) {
			return
		}
	}
}
