package doortest

import (
	"context"
	"slices"
	"strconv"

	"github.com/eider-analytics/eider/store/audit"
	"github.com/eider-analytics/eider/store/ledger"
)

// Links implements [door.LinkLedger].
func (m *Memory) Links(_ context.Context, site string) (list []ledger.Link, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, k := range m.links {
		if k.Site == site {
			list = append(list, k)
		}
	}
	return list, nil
}

// Link implements [door.LinkLedger].
func (m *Memory) Link(_ context.Context, hash [32]byte) (ledger.Link, error) {
	return m.link(func(k ledger.Link) bool { return k.Hash == hash })
}

// BadgedLink implements [door.LinkLedger].
func (m *Memory) BadgedLink(_ context.Context, hash [32]byte) (ledger.Link, error) {
	return m.link(func(k ledger.Link) bool { return k.Badge == hash })
}

func (m *Memory) link(is func(ledger.Link) bool) (ledger.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.links, is)
	if i < 0 {
		return ledger.Link{}, ledger.ErrNotFound
	}
	return m.links[i], nil
}

// AddLink implements [door.LinkLedger].
func (m *Memory) AddLink(ctx context.Context, k ledger.Link) (ledger.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.made++
	k.ID = m.made
	m.links = append(m.links, k)
	m.record(ctx, audit.Entry{Kind: audit.LinkCreate, Object: "link:" + strconv.FormatInt(k.ID, 10)})
	return k, nil
}

// ChangeLink implements [door.LinkLedger].
func (m *Memory) ChangeLink(ctx context.Context, site string, id int64, change func(*ledger.Link) error) (ledger.Link, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.at(site, id)
	if i < 0 {
		return ledger.Link{}, ledger.ErrNotFound
	}
	if err := change(&m.links[i]); err != nil {
		return ledger.Link{}, err
	}
	m.record(ctx, audit.Entry{Kind: audit.LinkChange, Object: "link:" + strconv.FormatInt(id, 10)})
	return m.links[i], nil
}

func (m *Memory) at(site string, id int64) int {
	return slices.IndexFunc(m.links, func(k ledger.Link) bool { return k.ID == id && k.Site == site })
}

// RevokeLink implements [door.LinkLedger].
func (m *Memory) RevokeLink(ctx context.Context, site string, id int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := m.at(site, id)
	if i < 0 {
		return ledger.ErrNotFound
	}
	m.links = slices.Delete(m.links, i, i+1)
	m.record(ctx, audit.Entry{Kind: audit.LinkRevoke, Object: "link:" + strconv.FormatInt(id, 10)})
	return nil
}

// LinkOpened implements [door.LinkLedger].
func (m *Memory) LinkOpened(ctx context.Context, tallies []ledger.Tally, gone []string, id int64) error {
	if err := m.KeepTallies(ctx, tallies, gone); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.record(ctx, audit.Entry{Kind: audit.Login, Outcome: audit.Done, Object: "link:" + strconv.FormatInt(id, 10)})
	return nil
}
