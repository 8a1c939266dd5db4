package history_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/eider-analytics/eider/store/history"
)

// A memFS is a file system in memory that knows what a power cut would leave of
// it: for each file the bytes, and for each directory the names, that were
// synced. It can fail at a given operation.
type memFS struct {
	mu   sync.Mutex
	root *inode
	log  []string // the operations so far; reads and writes of a file in a row are one

	// Broken hardware, for the negative controls.
	forgetFiles, forgetDirs bool // Sync, SyncDir do nothing

	// The fault: at the at-th operation, counted from 1.
	ops, at int
	changes bool            // count only operations that change something
	done    bool            // the operation takes effect all the same
	once    bool            // the ones after it work; otherwise they fail too
	hit     func(op string) // called when it happens
}

var errInjected = errors.New("injected fault")

type inode struct {
	dir            bool
	data, synced   []byte            // of a file
	names, durable map[string]*inode // of a directory
}

func newDir() *inode {
	return &inode{dir: true, names: map[string]*inode{}, durable: map[string]*inode{}}
}

func newMemFS() *memFS { return &memFS{root: newDir()} }

// crash returns what a power cut leaves: what was synced, and of the rest each
// name with probability keep and of each file's unsynced bytes some, or zeros
// in their place.
func (m *memFS) crash(r *rand.Rand, keep float64) *memFS {
	return &memFS{root: m.root.crash(r, keep)}
}

func (n *inode) crash(r *rand.Rand, keep float64) *inode {
	if !n.dir {
		data := bytes.Clone(n.synced)
		if !bytes.Equal(n.data, n.synced) && r.Float64() < keep {
			data = bytes.Clone(n.data)
			torn := len(n.synced) + r.IntN(len(n.data)-min(len(n.synced), len(n.data))+1)
			switch r.IntN(3) {
			case 0:
				data = data[:min(torn, len(data))]
			case 1:
				clear(data[min(torn, len(data)):])
			}
		}
		return &inode{data: data, synced: data}
	}
	c := newDir()
	for _, name := range slices.Sorted(maps.Keys(union(n.names, n.durable))) {
		now, was := n.names[name], n.durable[name]
		if now != was && r.Float64() < keep {
			was = now
		}
		if was != nil {
			c.names[name] = was.crash(r, keep)
		}
	}
	c.durable = maps.Clone(c.names)
	return c
}

func union(a, b map[string]*inode) map[string]*inode {
	c := maps.Clone(a)
	maps.Copy(c, b)
	return c
}

// files returns the content of every file below dir, by path.
func (m *memFS) files(dir string) map[string]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	found := map[string]string{}
	var walk func(name string, n *inode)
	walk = func(name string, n *inode) {
		if !n.dir {
			found[name] = string(n.data)
		}
		for child, n := range n.names {
			walk(path.Join(name, child), n)
		}
	}
	if n := m.find(dir); n != nil {
		walk(dir, n)
	}
	return found
}

// put places a durable file, whose directory must exist.
func (m *memFS) put(name string, data []byte) {
	dir := m.root
	for part := range strings.SplitSeq(path.Dir(name), "/") {
		if dir.names[part] == nil {
			dir.names[part] = newDir()
			dir.durable[part] = dir.names[part]
		}
		dir = dir.names[part]
	}
	dir.names[path.Base(name)] = &inode{data: data, synced: data}
	dir.durable[path.Base(name)] = dir.names[path.Base(name)]
}

func (m *memFS) find(name string) *inode {
	n := m.root
	if name == "." {
		return n
	}
	for part := range strings.SplitSeq(name, "/") {
		if n == nil || !n.dir {
			return nil
		}
		n = n.names[part]
	}
	return n
}

// op performs one operation, unless it is to fail.
func (m *memFS) op(what, name string, effect func() error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	line := what + " " + name
	if len(m.log) == 0 || m.log[len(m.log)-1] != line || what != "read" && what != "write" {
		m.log = append(m.log, line)
	}
	if m.changes && slices.Contains([]string{"open", "stat", "read", "readdir", "close"}, what) {
		return effect()
	}
	m.ops++
	if m.at == 0 || m.ops < m.at || m.once && m.ops > m.at {
		return effect()
	}
	if m.ops == m.at {
		if m.done {
			_ = effect()
		}
		if m.hit != nil {
			m.hit(line)
		}
	}
	return fmt.Errorf("%s: %w", line, errInjected)
}

func perr(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// parent returns the directory of name, which must exist.
func (m *memFS) parent(op, name string) (*inode, error) {
	if d := m.find(path.Dir(name)); d != nil && d.dir {
		return d, nil
	}
	return nil, perr(op, name, fs.ErrNotExist)
}

func (m *memFS) add(op, name string, n *inode) error {
	d, err := m.parent(op, name)
	if err != nil {
		return err
	}
	if d.names[path.Base(name)] != nil {
		return perr(op, name, fs.ErrExist)
	}
	d.names[path.Base(name)] = n
	return nil
}

func (m *memFS) Create(name string) (history.File, error) {
	f := &memFile{fs: m, name: name, inode: &inode{}}
	return f, m.op("create", name, func() error { return m.add("create", name, f.inode) })
}

func (m *memFS) Open(name string) (history.File, error) {
	f := &memFile{fs: m, name: name}
	return f, m.op("open", name, func() error {
		if f.inode = m.find(name); f.inode == nil {
			return perr("open", name, fs.ErrNotExist)
		}
		return nil
	})
}

func (m *memFS) Stat(name string) (info fs.FileInfo, err error) {
	return info, m.op("stat", name, func() error {
		n := m.find(name)
		if n == nil {
			return perr("stat", name, fs.ErrNotExist)
		}
		info = n.info(name)
		return nil
	})
}

func (m *memFS) Rename(from, to string) error {
	return m.op("rename", from+" "+to, func() error {
		src, err := m.parent("rename", from)
		if err != nil {
			return err
		}
		n := src.names[path.Base(from)]
		if n == nil {
			return perr("rename", from, fs.ErrNotExist)
		}
		if err := m.add("rename", to, n); err != nil {
			return err
		}
		delete(src.names, path.Base(from))
		return nil
	})
}

func (m *memFS) Remove(name string) error {
	return m.op("remove", name, func() error {
		n := m.find(name)
		if n == nil {
			return perr("remove", name, fs.ErrNotExist)
		}
		if len(n.names) > 0 {
			return perr("remove", name, errors.New("directory not empty"))
		}
		d, _ := m.parent("remove", name)
		delete(d.names, path.Base(name))
		return nil
	})
}

func (m *memFS) Mkdir(name string) error {
	return m.op("mkdir", name, func() error { return m.add("mkdir", name, newDir()) })
}

func (m *memFS) ReadDir(name string) (entries []fs.DirEntry, err error) {
	return entries, m.op("readdir", name, func() error {
		n := m.find(name)
		if n == nil {
			return perr("readdir", name, fs.ErrNotExist)
		}
		for _, child := range slices.Sorted(maps.Keys(n.names)) {
			entries = append(entries, fs.FileInfoToDirEntry(n.names[child].info(child)))
		}
		return nil
	})
}

func (m *memFS) SyncDir(name string) error {
	return m.op("syncdir", name, func() error {
		n := m.find(name)
		if n == nil {
			return perr("syncdir", name, fs.ErrNotExist)
		}
		if !m.forgetDirs {
			n.durable = maps.Clone(n.names)
		}
		return nil
	})
}

func (n *inode) info(name string) fs.FileInfo {
	mode := fs.FileMode(0o600)
	if n.dir {
		mode = fs.ModeDir | 0o700
	}
	return memInfo{path.Base(name), int64(len(n.data)), mode}
}

type memInfo struct {
	name string
	size int64
	mode fs.FileMode
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) Mode() fs.FileMode  { return i.mode }
func (i memInfo) ModTime() time.Time { return time.Time{} }
func (i memInfo) IsDir() bool        { return i.mode.IsDir() }
func (i memInfo) Sys() any           { return nil }

type memFile struct {
	fs    *memFS
	name  string
	inode *inode
}

func (f *memFile) Write(p []byte) (n int, err error) {
	return n, f.fs.op("write", f.name, func() error {
		f.inode.data = append(f.inode.data, p...)
		n = len(p)
		return nil
	})
}

func (f *memFile) ReadAt(p []byte, off int64) (n int, err error) {
	return n, f.fs.op("read", f.name, func() error {
		if off > int64(len(f.inode.data)) {
			return io.EOF
		}
		if n = copy(p, f.inode.data[off:]); n < len(p) {
			return io.EOF
		}
		return nil
	})
}

func (f *memFile) Sync() error {
	return f.fs.op("sync", f.name, func() error {
		if !f.fs.forgetFiles {
			f.inode.synced = bytes.Clone(f.inode.data)
		}
		return nil
	})
}

func (f *memFile) Stat() (fs.FileInfo, error) { return f.inode.info(f.name), nil }
func (f *memFile) Close() error               { return f.fs.op("close", f.name, func() error { return nil }) }
