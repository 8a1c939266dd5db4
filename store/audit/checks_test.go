package audit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// relink makes a chain of other leaves that holds together: links, nodes, columns and
// checkpoints, as somebody would who has the disk. The leaves are changed by fn, which
// may return nil to take one out.
func relink(t *testing.T, m *memory, keys []Key, fn func(seq int, leaf string) string) *memory {
	t.Helper()
	d := &memory{chain: m.chain.Clone(), grown: make(chan struct{}, 1), private: m.private}
	c := &Chain{instance: "test", incarnation: 1, link: first("test")}
	old := m.rows[0].Link()
	for i, r := range m.rows {
		leaf := string(r.Leaf)
		if i > 0 {
			leaf = strings.Replace(leaf, encode(old[:]), encode(c.link[:]), 1)
		}
		old = r.Link()
		r.Leaf = []byte(fn(i, leaf))
		c.link = tlog.RecordHash(r.Leaf)
		r.Hashes = c.grow(c.link)
		if l, err := Parse(r.Leaf); err == nil {
			r.Time, r.Kind, r.Outcome, r.Actor, r.Object, r.Request = l.Time.UnixMicro(), l.Kind, l.Outcome, l.Actor, l.Object, l.Request
		}
		d.rows = append(d.rows, r)
		for _, one := range m.checkpoints {
			if one.Size == c.size {
				signed, err := Sign(one.Origin, c.Head(), keys, began)
				if err != nil {
					t.Fatal(err)
				}
				d.checkpoints = append(d.checkpoints, signed)
			}
		}
	}
	return d
}

// TestEachCheck has for every check of a verification a chain that holds together but
// for that: a verifier without the check would not say what is wrong.
func TestEachCheck(t *testing.T) {
	t.Parallel()
	base := newMemory(t, "test", seedA)
	base.fill(t, 5)
	base.sign(t)
	base.fill(t, 2)
	base.sign(t)
	replace := func(seq int, old, new string) func(int, string) string {
		return func(i int, leaf string) string {
			if i != seq {
				return leaf
			}
			if !strings.Contains(leaf, old) {
				t.Fatalf("leaf %d has no %s: %s", seq, old, leaf)
			}
			return strings.Replace(leaf, old, new, 1)
		}
	}
	same := func(_ int, leaf string) string { return leaf }
	signer := []Key{seedA}
	o := Options{Trusted: trust(t, seedA)}
	want(t, Verify(t.Context(), relink(t, base, signer, same), o), Sound, "linked anew and unchanged")
	later := func(entries ...Entry) *memory {
		d := base.clone()
		for _, e := range entries {
			d.append(t, e)
		}
		return d
	}
	then := func(d *memory, fn func(*memory)) *memory {
		fn(d)
		return d
	}
	resign := func(d *memory) { d.sign(t, seedA) }
	prune := func(n int, before string, d *memory) *memory {
		d.append(t, Entry{Kind: Prune, By: System, Detail: map[string]string{"before": before}})
		for i := range n {
			d.rows[i].Leaf = nil
		}
		return d
	}
	for name, c := range map[string]struct {
		log  *memory
		o    Options
		want Status
		says string
	}{
		"a seq that is not its own":   {log: relink(t, base, signer, replace(3, `"seq":"3"`, `"seq":"4"`)), want: Tampered, says: "says that it is entry 4"},
		"a prev of nothing":           {log: relink(t, base, signer, prevOf(3)), want: Tampered, says: "another entry before"},
		"a first prev of nothing":     {log: relink(t, base, signer, prevOf(0)), want: Tampered, says: "does not begin instance"},
		"a space in a leaf":           {log: relink(t, base, signer, replace(3, `"v":1`, `"v": 1`)), want: Tampered, says: "RFC 8785"},
		"a field more":                {log: relink(t, base, signer, replace(3, `"v":1`, `"v":1,"w":1`)), want: Tampered, says: "unknown field"},
		"a later version":             {log: relink(t, base, signer, replace(3, `"v":1`, `"v":2`)), want: CannotAll, says: "version 2"},
		"an incarnation in between":   {log: relink(t, base, signer, replace(3, `"incarnation":"1"`, `"incarnation":"2"`)), want: Tampered, says: "incarnation 2 after"},
		"a genesis in between":        {log: relink(t, base, signer, replace(3, `"kind":"key.create"`, `"kind":"audit.genesis"`)), want: Tampered, says: "only the first entry"},
		"no genesis":                  {log: relink(t, base, signer, replace(0, `"kind":"audit.genesis"`, `"kind":"key.create"`)), want: Tampered, says: "only the first entry"},
		"another first incarnation":   {log: relink(t, base, signer, func(_ int, l string) string { return strings.Replace(l, `"incarnation":"1"`, `"incarnation":"2"`, 1) }), want: Tampered, says: "not of the first incarnation"},
		"checkpoints of another key":  {log: relink(t, base, []Key{seedB}, same), want: Tampered, says: "no key that is known"},
		"another genesis and its key": {log: relink(t, base, []Key{seedB}, replace(0, seedA.Text(), seedB.Text())), want: Tampered, says: "none of the keys that are trusted"},
		"a key that is none":          {log: relink(t, base, signer, replace(0, seedA.Text(), "x")), want: Tampered, says: "key that it names"},
		"another kept head":           {log: base, o: Options{Kept: []Known{{Where: "kept", Size: 4}}}, want: Tampered, says: "kept has another root"},
		"a longer kept head":          {log: base, o: Options{Kept: []Known{{Where: "kept", Size: 9}}}, want: Truncated, says: "kept is of 9"},
		"all of it cut off":           {log: then(base.clone(), func(d *memory) { d.rows = d.rows[:7] }), want: Truncated, says: "there are only 7"},
		"a column":                    {log: then(base.clone(), func(d *memory) { d.rows[2].Actor = "key:2" }), want: Tampered, says: "columns"},
		"a node":                      {log: then(base.clone(), func(d *memory) { d.rows[3].Hashes[40] ^= 1 }), want: Tampered, says: "nodes of the tree"},
		"a note of another root": {log: then(base.clone(), func(d *memory) {
			h := d.chain.Head()
			h.Root = sha256.Sum256(nil)
			d.checkpoints[1], _ = Sign("eider/test/1", h, signer, began)
		}), want: Tampered, says: "another root"},
		"a note of another incarnation": {log: then(base.clone(), func(d *memory) {
			d.checkpoints[1], _ = Sign("eider/test/2", d.chain.Head(), signer, began)
		}), want: Tampered, says: "incarnation 1"},
		"a note of another instance": {log: then(base.clone(), func(d *memory) {
			d.checkpoints[1], _ = Sign("eider/tess/1", d.chain.Head(), signer, began)
		}), want: Tampered, says: "eider/tess/1"},
		"a root beside the note":             {log: then(base.clone(), func(d *memory) { d.checkpoints[0].Root[0] ^= 1 }), want: Tampered, says: "what is kept with it"},
		"a private value gone":               {log: then(base.clone(), func(d *memory) { delete(d.private, 3) }), want: Tampered, says: "private value is missing"},
		"another one erased":                 {log: then(later(Entry{Kind: Erase, Detail: map[string]string{"seqs": "2,4-5"}}), func(d *memory) { delete(d.private, 3) }), want: Tampered, says: "private value is missing"},
		"it erased":                          {log: then(later(Entry{Kind: Erase, Detail: map[string]string{"seqs": "2-3"}}), func(d *memory) { delete(d.private, 3) }), want: Sound},
		"its source erased":                  {log: then(later(Entry{Kind: Erase, Detail: map[string]string{"seqs": "3", "field": SourceField}}), keepOnly("name", 3)), want: Sound},
		"its source erased and its name":     {log: then(later(Entry{Kind: Erase, Detail: map[string]string{"seqs": "3", "field": SourceField}}), keepOnly(SourceField, 3)), want: Tampered, says: "private value is missing"},
		"an erasure of what is to come":      {log: later(Entry{Kind: Erase, Detail: map[string]string{"seqs": "2-30"}}), want: Tampered, says: "it erases"},
		"another private value":              {log: then(base.clone(), func(d *memory) { d.private[3] = d.private[4] }), want: Tampered, says: "private value"},
		"a private value that nobody named":  {log: then(base.clone(), func(d *memory) { d.private[0] = []Private{{Field: "x"}} }), want: Tampered, says: "private value"},
		"pruned leaves":                      {log: prune(4, "4", base.clone()), want: Sound},
		"a leaf more than was pruned":        {log: prune(5, "4", base.clone()), want: Tampered, says: "its leaf is missing"},
		"a leaf in between":                  {log: then(base.clone(), func(d *memory) { d.rows[4].Leaf = nil }), want: Tampered, says: "its leaf is missing"},
		"pruned above the last checkpoint":   {log: prune(9, "9", later(Entry{Kind: Read}, Entry{Kind: Read})), want: Tampered, says: "its leaf is missing"},
		"adopted":                            {log: then(later(Entry{Kind: Adopt}), resign), want: Sound},
		"adopted, and signed as before":      {log: then(then(later(Entry{Kind: Adopt}), func(d *memory) { d.chain.incarnation = 1 }), resign), want: Tampered, says: "eider/test/1"},
		"signed by nobody":                   {log: then(base.clone(), func(d *memory) { d.checkpoints = nil }), want: CannotAll, says: "nothing of it is signed"},
		"an entry that the clock set back":   {log: relink(t, base, signer, replace(3, `"time":"2023`, `"time":"2022`)), want: Sound},
		"an entry of a kind that nobody has": {log: relink(t, base, signer, replace(3, `"kind":"key.create"`, `"kind":"key.creatf"`)), want: Sound},
	} {
		if c.o.Trusted == nil {
			c.o.Trusted = o.Trusted
		}
		r := Verify(t.Context(), c.log, c.o)
		if r.Status != c.want || c.want != Sound && !strings.Contains(fmt.Sprint(r.Findings), c.says) {
			t.Errorf("%s: %s %+v, want %s: %s", name, r.Status, r.Findings, c.want, c.says)
		}
	}
}

// prevOf lets a leaf name an entry before it that is none.
func prevOf(seq int) func(int, string) string {
	return func(i int, leaf string) string {
		at := strings.Index(leaf, `"prev":"`) + len(`"prev":"`)
		if i != seq {
			return leaf
		}
		var none tlog.Hash
		return leaf[:at] + encode(none[:]) + leaf[at+43:]
	}
}

// A growing log appends, signs, erases and prunes while it is read.
type growing struct {
	*memory
	t     *testing.T
	steps int
}

func (g *growing) Rows(ctx context.Context, from, to int64, fn func(Row) error) error {
	if g.steps > 0 {
		g.steps--
		g.memory.append(g.t, Entry{Kind: Erase, By: System, Detail: map[string]string{"seqs": "1-20"}})
		g.memory.append(g.t, Entry{Kind: Prune, By: System, Detail: map[string]string{"before": "10"}})
		g.mu.Lock()
		for seq := range int64(20) {
			delete(g.private, seq)
			if seq < 10 {
				g.rows[seq].Leaf = nil
			}
		}
		g.mu.Unlock()
		g.fill(g.t, 3)
		g.sign(g.t)
	}
	return g.memory.Rows(ctx, from, to, fn)
}

// TestGrowing verifies a chain that grows meanwhile.
func TestGrowing(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	m.fill(t, 1500)
	m.sign(t)
	r := Verify(t.Context(), &growing{m, t, 3}, Options{Trusted: trust(t, seedA)})
	want(t, r, Sound, "growing")
	if r.Size != 1501+3*5 {
		t.Errorf("%+v", r)
	}
}

// TestPruned writes a chain without its first leaves in every form, and reads it.
func TestPruned(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	m.fill(t, 1400)
	m.sign(t)
	m.append(t, Entry{Kind: Prune, By: System, Detail: map[string]string{"before": "300"}})
	for i := range 300 {
		m.rows[i].Leaf = nil
		delete(m.private, int64(i))
	}
	m.sign(t)
	o := Options{Trusted: trust(t, seedA)}
	want(t, Verify(t.Context(), m, o), Sound, "memory")
	for name, f := range forms(t, m, 0) {
		r := Verify(t.Context(), f, o)
		want(t, r, Sound, name)
		if r.Pruned != 300 {
			t.Errorf("%s: %+v", name, r)
		}
		if _, err := Tile(t.Context(), f, "tile/entries/001"); err == nil {
			t.Errorf("%s has a bundle without its leaves", name)
		}
	}
}

// TestCompare finds where two copies differ.
func TestCompare(t *testing.T) {
	t.Parallel()
	a := newMemory(t, "test", seedA)
	a.fill(t, 1500)
	b := a.clone()
	b.fill(t, 3)
	if r := Compare(t.Context(), a, b); r.Status != Sound || len(r.Warnings) != 1 || r.Entries != 1501 {
		t.Errorf("a copy that lags: %+v", r)
	}
	b.rows[1200].Leaf[30] ^= 1
	if r := Compare(t.Context(), a, b); r.Status != Tampered || r.Where.Seq != 1200 {
		t.Errorf("another leaf: %+v", r)
	}
	b.rows = slices.Delete(b.rows, 1100, 1101)
	if r := Compare(t.Context(), a, b); r.Status != Tampered || r.Where.Seq != 1100 {
		t.Errorf("a missing entry: %+v", r)
	}
}

// TestReport signs a report of a span of time, which nobody else can have signed.
func TestReport(t *testing.T) {
	t.Parallel()
	m := newMemory(t, "test", seedA)
	m.fill(t, 10)
	m.append(t, Entry{Kind: Refusal, Outcome: Refused, Count: 7, First: began, Last: began})
	m.sign(t)
	note, err := SignedReport(t.Context(), m, "eider/test/1", began.Add(5*time.Second), began.Add(20*time.Second), []Key{seedA})
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Trusted: trust(t, seedA), Kept: []Known{m.checkpoints[0].Known("the kept checkpoint")}}
	r, w := VerifyReport(note, o)
	want(t, r, Sound, "untouched")
	if w.Entries != 7 || w.Acts != 13 || w.FirstSeq != 5 || w.LastSeq != 11 || w.Kinds["key.create"] != 6 || w.Outcomes["refused"] != 1 || w.Head != m.chain.Head().String() {
		t.Errorf("report is %+v", w)
	}
	other := m.checkpoints[0].Known("another checkpoint")
	other.Root[0] ^= 1
	for name, c := range map[string]struct {
		note []byte
		o    Options
		want Status
	}{
		"another key": {note, Options{Trusted: trust(t, seedB)}, CannotAll}, "no key": {note, Options{}, CannotAll},
		"changed":      {bytes.Replace(note, []byte(`"entries":7`), []byte(`"entries":8`), 1), o, Tampered},
		"another root": {note, Options{Trusted: o.Trusted, Kept: []Known{other}}, Tampered},
		"a checkpoint": {m.checkpoints[0].Note, o, CannotAll}, "cut": {note[:len(note)-9], o, Tampered}, "nothing": {nil, o, CannotAll},
	} {
		r, _ := VerifyReport(c.note, c.o)
		want(t, r, c.want, name)
	}
	text := bytes.Clone(note)
	flips(text, func(at, bit int) {
		if r, _ := VerifyReport(text, o); r.Status == Sound {
			t.Errorf("bit %d of byte %d: sound", bit, at)
		}
	})
	if _, _, err := ParseCheckpoint(note); err == nil {
		t.Error("a report is taken for a checkpoint")
	}
}

// keepOnly destroys all private values of an entry but that of a field.
func keepOnly(field string, seq int64) func(*memory) {
	return func(d *memory) {
		d.private[seq] = slices.DeleteFunc(slices.Clone(d.private[seq]), func(p Private) bool { return p.Field != field })
	}
}
