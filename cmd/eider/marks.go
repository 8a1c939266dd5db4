package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// A markFile keeps how far sinks have come that cannot be asked: a JSON object of
// numbers, replaced as a whole. It is not in the ledger, where every mark would be one
// more commit in the way of acts and of events. If it is lost all is sent again, which
// receivers are made for. PostgreSQL is asked, and needs none.
type markFile struct {
	path string
	mu   sync.Mutex // held for every use of the file
}

// Get implements [sink.Marks].
func (m *markFile) Get(_ context.Context, name string) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks, err := m.read()
	return marks[name], err
}

func (m *markFile) read() (map[string]int64, error) {
	marks := map[string]int64{}
	b, err := os.ReadFile(m.path)
	if errors.Is(err, fs.ErrNotExist) {
		return marks, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &marks)
	}
	if err != nil {
		return nil, fmt.Errorf("read the marks of copies: %w", err)
	}
	return marks, nil
}

// Set implements [sink.Marks].
func (m *markFile) Set(_ context.Context, name string, next int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	marks, err := m.read()
	if err != nil {
		return err
	}
	marks[name] = next
	b, err := json.Marshal(marks)
	if err != nil {
		return err
	}
	if err := m.write(b); err != nil {
		return fmt.Errorf("write the marks of copies: %w", err)
	}
	return nil
}

func (m *markFile) write(b []byte) error {
	beside := m.path + ".new"
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(beside, m.path); err != nil {
		return err
	}
	dir, err := os.Open(filepath.Dir(m.path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
