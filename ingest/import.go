package ingest

import (
	"bufio"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/eider-analytics/eider/store/event"
)

const (
	importChunk = 4096    // events committed at once
	maxLogLine  = 1 << 16 // bytes; a longer line is damaged
	recentLines = 1 << 16 // lines remembered to tell equal ones apart
)

// Import formats.
const (
	Combined = "combined" // Apache's and nginx's default
	Common   = "common"   // without referrer and user agent
)

// An importer is one import of one stream.
type importer struct {
	in       *Ingest
	site     string
	combined bool
	src      source
	visits   *visits
	seen     *simplelru.LRU[event.ID, int] // how often a line has come lately
	chunk    []pending
	report   event.ImportReport
}

// Import reads an access log, plain or gzip, and makes events of its lines: a
// GET that was answered with 200 or 304 is a pageview if it was for a page and a
// "File Download" if it was for a document or an archive. Everything else is
// skipped and counted by its reason; imported, duplicates and skipped together
// are the lines.
//
// A line's id is the hash of its text and of how many equal lines came before
// it, and is looked up in the whole history: importing a file twice, or one that
// has grown, adds only what is new. The visitor is told by the logged address and
// user agent on the logged day, with a salt that is made for this import and ends
// with it. Visits are counted within one import.
//
// The site must exist, or sites are made by their first event.
func (in *Ingest) Import(ctx context.Context, site, format string, r io.Reader) (event.ImportReport, error) {
	if format != Combined && format != Common {
		return event.ImportReport{}, fieldError("format", "%q is not one of combined, common", format)
	}
	if err := in.accepting(); err != nil {
		return event.ImportReport{}, err
	}
	st, ok, err := in.sites.get(ctx, Domain(site), in.now())
	if err != nil {
		return event.ImportReport{}, err
	}
	if !ok {
		return event.ImportReport{}, fieldError("site", "there is no site %q; make it first", site)
	}
	r, err = plain(r)
	if err != nil {
		return event.ImportReport{}, err
	}
	im := in.newImporter(st, format == Combined)
	err = im.run(ctx, r)
	return im.report, err
}

func (in *Ingest) newImporter(st site, combined bool) *importer {
	now := in.now()
	day := localDay(now, st.zone)
	salts := &memorySalts{live: in.opts.Ledger, from: day - 1, old: make(map[saltDay][16]byte)}
	seen, _ := simplelru.NewLRU[event.ID, int](recentLines, nil) // fails for a size below 1 only
	return &importer{
		in: in, site: st.domain, combined: combined,
		src: source{
			via: event.ViaImport, now: now, anyTime: true,
			identity: &identity{store: salts, users: in.identity.users, events: in.identity.events, salts: make(map[saltDay]salt)},
		},
		visits: newVisits(in.opts.MaxVisits),
		seen:   seen,
		report: event.ImportReport{Skipped: make(map[string]int64)},
	}
}

// plain decompresses a stream that begins as gzip does.
func plain(r io.Reader) (io.Reader, error) {
	br := bufio.NewReaderSize(r, maxLogLine)
	if magic, err := br.Peek(2); err != nil || magic[0] != 0x1f || magic[1] != 0x8b {
		return br, nil
	}
	z, err := gzip.NewReader(br)
	if err != nil {
		return nil, fieldError("request", "is not a whole gzip file: %v", err)
	}
	return bufio.NewReaderSize(z, maxLogLine), nil
}

func (im *importer) run(ctx context.Context, r io.Reader) error {
	lines := &lineReader{r: r.(*bufio.Reader)}
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			// What was read before is imported, and the rest can be sent again.
			return errors.Join(im.commit(ctx), fmt.Errorf("read log after line %d: %w", im.report.Lines, err))
		}
		if err := im.line(ctx, line); err != nil {
			return err
		}
		if len(im.chunk) < importChunk {
			continue
		}
		if err := im.commit(ctx); err != nil {
			return err
		}
	}
	return im.commit(ctx)
}

// line makes an event of a line, or counts why it is none.
func (im *importer) line(ctx context.Context, line string) error {
	im.report.Lines++
	it, skip := im.item(line)
	if skip != "" {
		im.report.Skipped[skip]++
		return nil
	}
	var err error
	if im.chunk, err = im.in.prepare(ctx, &im.src, &it, im.site, im.chunk); err == nil {
		return nil
	}
	r, ok := im.in.rejection(0, err)
	if !ok {
		return err
	}
	im.report.Skipped[r.Code]++
	return nil
}

// item makes of a line what a page would have sent.
func (im *importer) item(line string) (it item, skip string) {
	if strings.TrimSpace(line) == "" {
		return it, skipEmpty
	}
	l, ok := parseLogLine(line, im.combined)
	if !ok {
		return it, skipDamaged
	}
	name, skip := l.classify()
	if skip != "" {
		return it, skip
	}
	it = item{
		Name: name, URL: l.url(im.site), Referrer: cut(l.referrer, maxURL), Interactive: true,
		Scroll: event.NoScroll, Time: l.time, Addr: l.addr, UserAgent: cut(l.userAgent, maxAgent),
		ID: im.lineID(line),
	}
	if name == fileDownload {
		url, _, _ := strings.Cut(it.URL, "?")
		it.Props = marshal(map[string]string{"url": cut(url, maxPropText)})
	}
	return it, ""
}

// url is the address of what a line asked for. A proxy's log has it whole.
func (l *logLine) url(site string) string {
	if strings.HasPrefix(l.target, "http://") || strings.HasPrefix(l.target, "https://") {
		return l.target
	}
	host, _, _ := strings.Cut(site, "/")
	return "https://" + host + "/" + strings.TrimPrefix(l.target, "/")
}

// lineID is the id of a line: its text, and how many equal ones came before.
func (im *importer) lineID(line string) string {
	sum := im.src.identity.events.hash([]byte(line)) // lines themselves would be many megabytes
	n, _ := im.seen.Get(sum)
	im.seen.Add(sum, n+1)
	return string(binary.AppendUvarint([]byte("line\x00"+line+"\x00"), uint64(n)))
}

// commit leaves out of the chunk what the history has already, and commits the
// rest.
func (im *importer) commit(ctx context.Context) error {
	if len(im.chunk) == 0 {
		return nil
	}
	fresh, err := im.fresh(ctx)
	if err != nil {
		return err
	}
	var res event.Result
	if _, err := im.in.commit(ctx, &res, newSubmission(fresh, im.visits)); err != nil {
		return fmt.Errorf("commit lines: %w", err)
	}
	im.report.Imported += int64(res.Accepted)
	im.report.Duplicates += int64(len(im.chunk)-len(fresh)) + int64(res.Duplicates)
	for _, r := range res.Rejected {
		im.report.Skipped[r.Code]++
	}
	im.report.LastSeq = max(im.report.LastSeq, res.LastSeq)
	oldest := im.chunk[0].event.Time
	for i := range im.chunk {
		oldest = min(oldest, im.chunk[i].event.Time)
	}
	im.visits.expire(oldest) // a log goes on where it was: nothing comes of those that were over before it
	clear(im.chunk)          // their texts must not stay
	im.chunk = im.chunk[:0]
	if relieve := im.in.opts.Relieve; relieve != nil {
		if err := relieve(ctx); err != nil {
			return fmt.Errorf("make room for more lines: %w", err)
		}
	}
	return nil
}

// fresh returns the events of the chunk whose ids the history does not know.
func (im *importer) fresh(ctx context.Context) ([]pending, error) {
	ids := make([]event.ID, len(im.chunk))
	from, to := event.DayOf(im.chunk[0].event.Time), event.DayOf(im.chunk[0].event.Time)
	for i := range im.chunk {
		e := &im.chunk[i].event
		ids[i] = e.Dedupe
		from, to = min(from, event.DayOf(e.Time)), max(to, event.DayOf(e.Time))
		if im.report.From == 0 || e.Time < im.report.From {
			im.report.From = e.Time
		}
		im.report.To = max(im.report.To, e.Time)
	}
	known, err := im.in.opts.Lens.KnownIDs(ctx, im.site, from, to, ids)
	if err != nil {
		return nil, fmt.Errorf("look for lines that are imported already: %w", err)
	}
	fresh := make([]pending, 0, len(im.chunk))
	for _, p := range im.chunk {
		if !known[p.event.Dedupe] {
			fresh = append(fresh, p)
		}
	}
	return fresh, nil
}

// A lineReader reads lines of bounded length.
type lineReader struct{ r *bufio.Reader }

// next returns the next line without its end. Instead of a line that is too long
// it returns a text that is no line of a log.
func (l *lineReader) next() (string, error) {
	line, err := l.r.ReadSlice('\n')
	s := strings.TrimRight(string(line), "\r\n")
	if err == bufio.ErrBufferFull {
		s = "a line longer than " + strconv.Itoa(maxLogLine) + " bytes"
	}
	for err == bufio.ErrBufferFull {
		_, err = l.r.ReadSlice('\n')
	}
	if err == io.EOF && s != "" {
		err = nil
	}
	return s, err
}
