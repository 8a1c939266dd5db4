package server

import (
	"net/http"
	"reflect"
	"strings"

	"github.com/eider-analytics/eider/store/event"
	"github.com/eider-analytics/eider/store/ledger"
)

// The groups of operations.
const (
	ofEvents    = "Events"
	ofReports   = "Reports"
	ofPlausible = "Plausible's Stats API"
	ofData      = "Data"
	ofSites     = "Sites"
	ofOperator  = "Operator"
	ofServer    = "Server"
	ofAudit     = "Audit"
	ofLinks     = "Shared links"
)

// asks are the parameters that several routes have.
var asks = map[string]ask{
	"site_id":    {says: "Domain of the site.", of: textual(), must: true},
	"period":     {says: "The range, by the clock of the site: day or today, yesterday, 7d, 28d, 30d, 90d, month, year, 12mo, all. Instead of it start_date and end_date.", of: textual()},
	"start_date": {says: "First day.", of: schema{"type": "string", "format": "date"}},
	"end_date":   {says: "Last day.", of: schema{"type": "string", "format": "date"}},
	"filters":    {says: "Filters of the Stats API v2 as JSON, or the short form.", of: textual()},
	"segment":    {says: "Id of a segment of the site.", of: between(1, 1<<53)},
	"metrics":    {says: "Names with commas: " + wordList(metricNames) + ".", of: textual()},
	"currency":   {says: "Of the revenue, such as EUR; left out, the site's.", of: textual()},
	"limit":      {says: "Most rows.", of: between(1, 10_000)},
	"page":       {says: "Which page of so many rows, from 1.", of: between(1, 1_000_000).byDefault(1)},
	"search":     {says: "Only values that contain this text.", of: textual()},
	"sort":       {says: "A metric or value, and :asc or :desc.", of: textual()},
	"interval":   {says: "Left out, one that fits the range.", of: oneOf("minute", event.Hourly, event.Daily, event.Weekly, event.Monthly)},
	"compare":    {says: "With what the figures are compared.", of: oneOf(previousPeriod, yearOverYear)},
	"steps":      {says: "What is done one after the other; API.md has the short form.", of: textual()},
	"window":     {says: "Time between the first step and the last, such as 1 day.", of: textual().byDefault(usualFunnelWindow)},
	"modes":      {says: "Names with commas.", of: textual()},
	"by":         {says: "A dimension.", of: textual()},
	"any":        {says: "Whether every step says the segment, not the first alone.", of: oneOf("false", "true").byDefault("false")},
	"over":       {says: "Split by when it began.", of: oneOf(event.Hourly, event.Daily, event.Weekly, event.Monthly)},
	"unit":       {says: "Whose events belong together.", of: oneOf(string(event.PerVisitor), string(event.PerVisit), string(event.PerUser))},
	"every":      {says: "Whether events that are no step stand between others too.", of: oneOf("false", "true").byDefault("false")},
	"pattern":    {says: "As API.md has it; left out, all steps in their order.", of: textual()},
	"format":     {says: "Of the answer.", of: textual()},
	"date":       {says: "A day, or two with a comma.", of: textual()},
}

// asking returns parameters: those of the table by their names, with a mark ! if
// they must be given.
func asking(names ...string) []ask {
	list := make([]ask, len(names))
	for i, n := range names {
		name, must := strings.CutSuffix(n, "!")
		a, known := asks[name]
		if !known {
			a.of = textual()
		}
		a.name, a.must = name, a.must || must
		list[i] = a
	}
	return list
}

// reporting returns the parameters of a report.
func reporting(names ...string) []ask {
	return asking(append([]string{"site_id", "period", "start_date", "end_date", "filters", "segment"}, names...)...)
}

// A reportOf is a report with its results.
type reportOf[T any] struct {
	reportJSON
	Results T `json:"results"`
}

// report is the answer of a route of reports.
func report(results any) []reply {
	return okJSON("What was asked, as it was understood, and the results.", results)
}

// peers are the answers of Plausible's API, errors among them.
func peers(v any) []reply {
	return okJSON("As Plausible answers.", v)
}

// figuresNote says what objects of figures hold.
const figuresNote = "An object of figures has a number for each of the metrics, or null where it cannot be told."

var (
	created  = func(what string, v any) []reply { return []reply{{http.StatusCreated, what, jsonOf(v)}} }
	gone204  = []reply{{http.StatusNoContent, "Done.", nil}}
	lined    = []media{{"application/x-ndjson", schema{"type": "string", "description": "JSON objects, one a line: progress, and last report or error."}}}
	asText   = []media{{"text/plain; charset=utf-8", schema{"type": "string"}}}
	okText   = []reply{{http.StatusOK, "It.", asText}}
	notFound = []int{http.StatusNotFound}
	exists   = []int{http.StatusNotFound, http.StatusConflict}
)

// operations describes the routes, by their patterns. A test fails for a route
// that is not here, and for an answer that is not as it is described here.
var operations = func() map[string]operation {
	all := map[string]operation{}
	for _, of := range []map[string]operation{eventOperations, reportOperations, plausibleOperations, dataOperations, siteOperations, operatorOperations, auditOperations, authOperations, linkOperations, serverOperations} {
		for pattern, op := range of {
			all[pattern] = op
		}
	}
	return all
}()

// eventJSON is an event as it is sent. Its short keys are in API.md.
type eventJSON struct {
	Name     string         `json:"name" api:"required" doc:"pageview, engagement, or any other name of up to 120 characters."`
	URL      string         `json:"url" doc:"Of the page, up to 2,000 bytes."`
	Domain   string         `json:"domain" doc:"The site, or several with commas. Left out, the host of the URL."`
	Referrer string         `json:"referrer"`
	Title    string         `json:"title"`
	Props    map[string]any `json:"props" doc:"Up to 30 texts, numbers or booleans."`
	Revenue  struct {
		Amount   any    `json:"amount" api:"required" doc:"A number, or the text of one."`
		Currency string `json:"currency" api:"required"`
	} `json:"revenue"`
	Interactive bool   `json:"interactive" doc:"false: does not end a bounce."`
	ID          string `json:"id" doc:"An event with the same id is stored once."`
	Timestamp   any    `json:"timestamp" doc:"In batches: RFC 3339 or Unix milliseconds."`
	User        string `json:"user" doc:"Your own id of the user; kept as a hash."`
	IP          string `json:"ip" doc:"In batches: the visitor's."`
	UserAgent   string `json:"user_agent" doc:"In batches: the visitor's."`
}

// notAnEvent is how POST /api/event refuses: as Plausible says that an event is
// wrong, or as everything else is refused.
var notAnEvent = schema{"anyOf": []schema{
	{"type": "object", "required": []string{"errors"}, "properties": schema{"errors": schema{"type": "object", "additionalProperties": schema{"type": "array", "items": textual()}}}},
	{"$ref": "#/components/schemas/ErrorBody"},
}}

var eventOperations = map[string]operation{
	"POST /api/event": {
		group: ofEvents, says: "Takes one event, as Plausible's trackers send it.",
		more:  "202 means durable, unless X-Plausible-Dropped says that it was not counted.",
		takes: []media{{"application/json", openly{}}, {"text/plain", nil}, {"application/x-www-form-urlencoded", nil}},
		gives: []reply{
			{http.StatusAccepted, "It is durable.", asText},
			{http.StatusOK, "With X-Debug-Request: true, the address that was understood.", asText},
			{http.StatusBadRequest, "The event is wrong.", jsonOf(notAnEvent)},
		},
		fails: []int{http.StatusTooManyRequests},
	},
	"GET /api/event": {
		group: ofEvents, says: "The pixel, for mails and pages without scripts.", asks: asking("d", "u", "r", "n", "w"),
		gives: []reply{{http.StatusOK, "A picture, whatever became of the event.", []media{{"image/gif", nil}}}},
	},
	"OPTIONS /api/event": {group: ofEvents, says: "The preflight of a browser.", gives: gone204},
	"POST /api/events": {
		group: ofEvents, says: "Takes up to 10,000 events.",
		takes: []media{{"application/json", []openly{}}, {"application/x-ndjson", nil}, {"text/plain", nil}},
		gives: []reply{{http.StatusAccepted, "accepted + duplicates + rejected = sent.", jsonOf(batchAnswer{})}},
		fails: []int{http.StatusTooManyRequests},
	},
	"POST /api/import": {
		group: ofEvents, says: "Imports an access log.", asks: asking("site_id", "format"),
		takes: []media{{"application/octet-stream", nil}, {"text/plain", nil}},
		gives: okJSON("What came of each line. What is sent again counts once.", imported{}),
		fails: notFound,
	},
}

// openly is an event in a body, which may have keys that nobody knows.
type openly struct{}

func (openly) schema() schema {
	r := reflector{body: true}
	s := r.object(reflect.TypeFor[eventJSON]())
	delete(s, "additionalProperties")
	s["description"] = "Every key but name has a short form: n, u, d, r, p, $, i. Keys that are not known are left out."
	delete(s, "required") // n will do for name
	return s
}

var reportOperations = map[string]operation{
	"GET /api/stats/main":            {group: ofReports, says: "The figures of a range.", more: figuresNote, asks: reporting("metrics", "currency", "compare"), gives: report(reportOf[objectJSON]{}), fails: notFound},
	"GET /api/stats/sessions":        {group: ofReports, says: "The figures of the visits of a range.", more: figuresNote, asks: reporting("metrics", "currency", "compare"), gives: report(reportOf[objectJSON]{}), fails: notFound},
	"GET /api/stats/timeseries":      {group: ofReports, says: "The figures of a range by interval.", more: figuresNote, asks: reporting("metrics", "currency", "interval"), gives: report(reportOf[[]objectJSON]{}), fails: notFound},
	"GET /api/stats/breakdown/{dim}": {group: ofReports, says: "The figures of a range by the values of a dimension.", more: figuresNote, asks: reporting("metrics", "currency", "limit", "page", "search", "sort"), gives: report(reportOf[[]objectJSON]{}), fails: notFound},
	"GET /api/stats/realtime":        {group: ofReports, says: "Who is there now.", asks: reporting("minutes", "limit"), gives: report(reportOf[realtimeJSON]{}), fails: notFound},
	"GET /api/stats/goals":           {group: ofReports, says: "How often the goals were reached.", asks: reporting(), gives: report(reportOf[[]reachedJSON]{}), fails: notFound},
	"GET /api/stats/revenue":         {group: ofReports, says: "Revenue by currency, event and page.", asks: reporting("currency", "limit"), gives: report(reportOf[revenueJSON]{}), fails: notFound},
	"GET /api/stats/properties":      {group: ofReports, says: "Names of the custom properties.", asks: reporting("event", "limit", "page"), gives: report(reportOf[[]propertyJSON]{}), fails: notFound},
	"GET /api/stats/property-values": {group: ofReports, says: "Values of a custom property.", asks: reporting("key!", "event", "limit", "page", "search"), gives: report(reportOf[[]propertyValueJSON]{}), fails: notFound},
	"GET /api/stats/funnel":          {group: ofReports, says: "How many do one step after the other within a window.", asks: reporting("steps!", "window", "modes", "by", "any", "over", "unit", "limit"), gives: report(reportOf[funnelJSON]{}), fails: notFound},
	"POST /api/stats/funnel":         {group: ofReports, says: "The same, with steps that have filters of their own.", takes: jsonOf(funnelRequest{}), gives: report(reportOf[funnelJSON]{}), fails: notFound},
	"GET /api/stats/retention":       {group: ofReports, says: "How many come again, by when they first came.", asks: reporting("interval", "weeks", "n", "by", "unit", "start", "return"), gives: report(reportOf[retentionJSON]{}), fails: notFound},
	"GET /api/stats/sequences":       {group: ofReports, says: "How many do things in the order of a pattern.", asks: reporting("steps!", "pattern", "every", "unit"), gives: report(reportOf[objectJSON]{}), fails: notFound},
	"GET /api/stats/flow":            {group: ofReports, says: "Which way they go from a page, or came to it.", asks: append(reporting("start", "direction", "limit", "steps", "by", "unit", "repeats"), ask{name: "page", says: "Where the journeys begin.", of: textual()}), gives: report(reportOf[flowJSON]{}), fails: notFound},
}

var plausibleOperations = map[string]operation{
	"POST /api/v2/query": {
		group: ofPlausible, says: "The Stats API v2.", takes: []media{{"application/json", v2Body{}}},
		gives: peers(v2JSON{}),
	},
	"GET /api/v1/stats/realtime/visitors": {group: ofPlausible, says: "Visitors of the last five minutes.", asks: asking("site_id"), gives: peers(int64(0))},
	"GET /api/v1/stats/aggregate":         {group: ofPlausible, says: "The figures of a range.", asks: asking("site_id", "period", "date", "metrics", "filters", "compare"), gives: peers(v1JSON[object]{})},
	"GET /api/v1/stats/timeseries":        {group: ofPlausible, says: "The figures of a range by interval.", asks: asking("site_id", "period", "date", "metrics", "filters", "interval"), gives: peers(v1JSON[[]object]{})},
	"GET /api/v1/stats/breakdown":         {group: ofPlausible, says: "The figures of a range by the values of a property.", asks: asking("site_id", "property!", "period", "date", "metrics", "filters", "limit", "page"), gives: peers(v1JSON[[]object]{})},
}

var dataOperations = map[string]operation{
	"GET /api/stats/export": {
		group: ofData, says: "Every event of a site, in the order of seq.", more: "The trailers X-Eider-Rows and X-Eider-Last-Seq say how many there were and where to go on.",
		asks: append(asking("site_id", "period", "start_date", "end_date"),
			ask{name: "format", of: oneOf(event.FormatNDJSON, event.FormatCSV, event.FormatJSON, event.FormatParquet, event.FormatArrow).byDefault(event.FormatNDJSON)},
			ask{name: "after", says: "Only events with a greater seq.", of: between(0, 1<<53)}),
		gives: []reply{{http.StatusOK, "A stream of any length.", []media{
			{mediaTypes[event.FormatNDJSON], nil}, {mediaTypes[event.FormatCSV], nil}, {mediaTypes[event.FormatJSON], nil},
			{mediaTypes[event.FormatParquet], nil}, {mediaTypes[event.FormatArrow], nil},
		}}},
		fails: []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusTooManyRequests},
	},
	"GET /api/tail": {
		group: ofData, says: "The events of a site as they become durable, as server-sent events or by a WebSocket.",
		more: "API.md says what an event holds. Beside them there are the event missed, which says how many the client was too slow for, and end, which says why the stream ends. " +
			"Whoever comes again with Last-Event-ID gets what he has missed, if it is still there. There are at most 50 streams. " +
			"A request with `Upgrade: websocket` gets the same as messages, and comes again with after; a page of another site gets nothing, whatever its key.",
		asks: append(asking("site_id", "filters", "segment"),
			ask{name: "after", says: "The last event that the client has seen; the header Last-Event-ID goes before it.", of: between(0, 1<<53)}),
		gives: []reply{
			{http.StatusOK, "A stream without an end.", []media{{"text/event-stream", nil}}},
			{http.StatusSwitchingProtocols, "A WebSocket. Each text message is one of these; the server takes none. It is closed with 1001 when the server stops, 1008 when the client may not listen any more, or has sent something.",
				[]media{{"application/json", either{messageJSON[tailJSON]{}, messageJSON[missedJSON]{}, messageJSON[errorBody]{}, positionJSON{}}}}},
		},
		fails: []int{http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusUpgradeRequired},
	},
	"POST /api/sql": {
		group: ofData, says: "Answers one SQL statement that reads.", more: "The views events, visits, parts and audit are described in API.md; audit needs the scope audit or admin as well.",
		asks:  []ask{{name: "format", says: "Left out, the first type of Accept that there is.", of: oneOf(sqlFormats...)}},
		takes: jsonOf(sqlRequest{}),
		gives: []reply{{http.StatusOK, "X-Eider-Truncated says whether rows were cut off.", []media{
			{"application/json", sqlAnswer{}}, {mediaTypes[event.FormatCSV], nil}, {mediaTypes[event.FormatArrow], nil},
		}}},
		fails: []int{http.StatusNotAcceptable},
	},
	"POST /api/gdpr/erase": {
		group: ofData, says: "Erases events of a site for good.", takes: jsonOf(eraseRequest{}),
		gives: okJSON("Done.", struct {
			Status string `json:"status"`
			Site   string `json:"site_id"`
			Rows   int64  `json:"rows"`
		}{}),
		fails: notFound,
	},
}

var siteOperations = map[string]operation{
	"GET /api/sites": {group: ofSites, says: "Sites that the key may see.", gives: okJSON("They.", struct {
		Sites []siteJSON `json:"sites"`
	}{})},
	"POST /api/sites": {group: ofSites, says: "Makes a site.", takes: jsonOf(struct {
		Domain   string `json:"domain" api:"required"`
		Timezone string `json:"timezone" doc:"Left out: UTC."`
	}{}), gives: created("The site.", siteJSON{}), fails: exists},
	"DELETE /api/sites/{domain}":         {group: ofSites, says: "Forgets a site; its events stay until they are erased.", gives: gone204, fails: notFound},
	"GET /api/sites/{domain}":            {group: ofSites, says: "One site.", gives: okJSON("It.", siteDetailJSON{}), fails: notFound},
	"PATCH /api/sites/{domain}":          {group: ofSites, says: "Changes the zone of a site.", takes: jsonOf(siteChange{}), gives: okJSON("It, as it is then.", siteDetailJSON{}), fails: notFound},
	"GET /api/sites/{domain}/settings":   {group: ofSites, says: "Settings of a site.", gives: okJSON("They.", settingsJSON{}), fails: notFound},
	"PATCH /api/sites/{domain}/settings": {group: ofSites, says: "Changes settings of a site.", takes: jsonOf(settingsChange{}), gives: okJSON("They, as they are then.", settingsJSON{}), fails: notFound},

	"GET /api/goals":         {group: ofSites, says: "Goals of a site.", asks: asking("site_id"), gives: okJSON("They.", goalsJSON{}), fails: notFound},
	"POST /api/goals":        {group: ofSites, says: "Makes a goal.", asks: asking("site_id"), takes: jsonOf(newGoal{}), gives: created("The goal.", goalJSON{}), fails: exists},
	"PATCH /api/goals/{id}":  {group: ofSites, says: "Changes a goal.", asks: asking("site_id"), takes: jsonOf(goalChange{}), gives: okJSON("It, as it is then.", goalJSON{}), fails: exists},
	"DELETE /api/goals/{id}": {group: ofSites, says: "Removes a goal.", asks: asking("site_id"), gives: gone204, fails: notFound},

	"GET /api/segments":         {group: ofSites, says: "Segments of a site.", asks: asking("site_id"), gives: okJSON("They.", segmentsJSON{}), fails: notFound},
	"POST /api/segments":        {group: ofSites, says: "Makes a segment.", asks: asking("site_id"), takes: jsonOf(newSegment{}), gives: created("The segment.", segmentJSON{}), fails: exists},
	"PATCH /api/segments/{id}":  {group: ofSites, says: "Changes a segment.", asks: asking("site_id"), takes: jsonOf(segmentChange{}), gives: okJSON("It, as it is then.", segmentJSON{}), fails: exists},
	"DELETE /api/segments/{id}": {group: ofSites, says: "Removes a segment.", more: "409 if a shared link is locked to it.", asks: asking("site_id"), gives: gone204, fails: exists},

	"GET /api/annotations":         {group: ofSites, says: "Annotations of a site.", asks: asking("site_id"), gives: okJSON("They.", annotationsJSON{}), fails: notFound},
	"POST /api/annotations":        {group: ofSites, says: "Makes an annotation.", asks: asking("site_id"), takes: jsonOf(annotationAsk{}), gives: created("The annotation.", annotationJSON{}), fails: notFound},
	"PATCH /api/annotations/{id}":  {group: ofSites, says: "Changes an annotation.", asks: asking("site_id"), takes: jsonOf(annotationAsk{}), gives: okJSON("It, as it is then.", annotationJSON{}), fails: notFound},
	"DELETE /api/annotations/{id}": {group: ofSites, says: "Removes an annotation.", asks: asking("site_id"), gives: gone204, fails: notFound},
}

// ofID describes the parameter of a path that names a key.
var ofID = []ask{{name: "id", says: "Id of the key.", of: textual()}}

var operatorOperations = map[string]operation{
	"GET /api/keys": {group: ofOperator, says: "Keys, without themselves.", gives: okJSON("They.", struct {
		Keys []keyJSON `json:"keys"`
	}{})},
	"POST /api/keys": {group: ofOperator, says: "Makes a key.", more: "Scopes are " + strings.Join(ledger.Scopes, ", ") + ".", takes: jsonOf(newKey{}), gives: created("The key itself is in it, this once.", keyJSON{}), fails: notFound},
	"DELETE /api/keys/{id}": {
		group: ofOperator, says: "Revokes a key at once.", asks: ofID, gives: gone204, fails: notFound,
	},
	"GET /api/parts": {group: ofOperator, says: "Parquet parts.", gives: okJSON("They.", struct {
		Published int64      `json:"published_seq"`
		Parts     []partJSON `json:"parts"`
	}{})},
	"POST /api/parts/verify":       {group: ofOperator, says: "Reads every part whole.", gives: []reply{{http.StatusOK, "Last the damaged ones.", lined}}},
	"POST /api/maintenance/{task}": {group: ofOperator, says: "Does now what is done when it is due.", asks: []ask{{name: "task", of: textual()}}, gives: okJSON("Done.", maintained{}), fails: notFound},
}

var auditOperations = map[string]operation{
	"GET /api/audit": {
		group: ofAudit, says: "Entries of the audit chain, newest first.",
		asks: []ask{
			{name: "from", says: "A day (UTC) or a point in time.", of: textual()}, {name: "to", says: "Likewise; a day is in it, a point in time is not.", of: textual()},
			{name: "kind", says: "Of the entries, such as key.create.", of: textual()}, {name: "actor", says: "Who: key:<id>, local, system.", of: textual()},
			{name: "object", says: "What it was done to, such as site:example.com.", of: textual()}, {name: "request_id", of: textual()},
			{name: "before", says: "Only entries with a smaller seq: next of the answer before.", of: between(0, 1<<53)},
			{name: "limit", of: between(1, maxEntries).byDefault(defaultEntries)},
		},
		gives: okJSON("They.", entriesJSON{}),
	},
	"GET /api/audit/checkpoint":     {group: ofAudit, says: "The newest signed tree head, as c2sp.org/tlog-checkpoint has it.", gives: okText, fails: notFound},
	"GET /api/audit/tile/{path...}": {group: ofAudit, says: "Tiles and bundles of entries, as c2sp.org/tlog-tiles has them.", asks: []ask{{name: "path", says: "Such as 0/000, entries/000.p/12.", of: textual()}}, gives: []reply{{http.StatusOK, "It.", []media{{tileType, nil}}}}, fails: notFound},
	"GET /api/audit/proof/{seq}":    {group: ofAudit, says: "Proof that an entry is in the chain, as c2sp.org/tlog-proof has it.", asks: []ask{{name: "seq", of: between(0, 1<<53)}}, gives: okText, fails: notFound},
	"GET /api/audit/report":         {group: ofAudit, says: "A signed report of a time.", asks: []ask{{name: "from", says: "A day (UTC) or a point in time.", of: textual()}, {name: "to", says: "Likewise.", of: textual()}}, gives: okText, fails: notFound},
	"GET /api/audit/export": {
		group: ofAudit, says: "The whole chain, for eider audit verify.", asks: []ask{{name: "format", of: oneOf(event.FormatNDJSON, event.FormatParquet).byDefault(event.FormatNDJSON)}},
		gives: []reply{{http.StatusOK, "A stream of any length.", []media{{mediaTypes[event.FormatNDJSON], nil}, {mediaTypes[event.FormatParquet], nil}}}},
	},
	"GET /api/audit/keys":   {group: ofAudit, says: "Keys that verify checkpoints.", gives: okJSON("They.", keysJSON{})},
	"POST /api/audit/adopt": {group: ofAudit, says: "Takes a chain that was rolled back for the truth.", more: "State changes are possible again, and the chain says for ever that it was.", takes: jsonOf(adoptRequest{}), gives: okJSON("A new incarnation has begun.", adoptedJSON{}), fails: []int{http.StatusConflict}},
	"POST /api/audit/prune": {group: ofAudit, says: "Deletes leaves that every copy has.", more: "Their hashes stay, so that the chain can be verified from there. A checkpoint must cover them.", takes: jsonOf(pruneRequest{}), gives: okJSON("Done.", prunedJSON{}), fails: []int{http.StatusConflict}},
	"POST /api/audit/erase": {group: ofAudit, says: "Destroys addresses, user agents and texts of entries.", more: "The chain stays verifiable. Conditions that are given must all be met.", takes: jsonOf(forgetRequest{}), gives: okJSON("Done.", forgottenJSON{})},
}

// maintained is the answer to a task: what was made is named by the task.
type maintained struct{}

func (maintained) schema() schema {
	return schema{"type": "object", "properties": schema{"task": textual()}, "required": []string{"task"}, "additionalProperties": schema{"type": "integer"}}
}

var serverOperations = map[string]operation{
	"GET /health":       {group: ofServer, says: "Whether the process lives.", gives: []reply{{http.StatusOK, "It does.", asText}}},
	"GET /health/ready": {group: ofServer, says: "Whether to send requests here.", gives: readiness},
	"GET /ready":        {group: ofServer, says: "The same.", gives: readiness},
	"GET /health/detailed": {
		group: ofServer, says: "How the process is.", gives: okJSON("Figures by name.", schema{"type": "object", "required": []string{"status", "version", "uptime"}}),
	},
	"GET /metrics":      {group: ofServer, says: "Metrics of Prometheus.", gives: []reply{{http.StatusOK, "Text, in the version that was asked for.", []media{{"text/plain", nil}, {"application/openmetrics-text", nil}}}}, fails: []int{http.StatusServiceUnavailable}},
	"GET /openapi.json": {group: ofServer, says: "This document.", gives: []reply{{http.StatusOK, "OpenAPI 3.1.", jsonOf(schema{"type": "object"})}, {http.StatusNotModified, "As before.", nil}}},
	"GET /js/{file}": {
		group: ofServer, says: "The tracker: script.js, as Plausible's and with its suffixes, or eider.js.", asks: []ask{{name: "file", says: "Such as script.hash.outbound-links.js.", of: textual(), must: true}},
		gives: []reply{{http.StatusOK, "A script that any page may load.", []media{{"text/javascript; charset=utf-8", nil}}}, {http.StatusNotModified, "As before.", nil}}, fails: notFound,
	},
	"GET /robots.txt": {group: ofServer, says: "For crawlers.", gives: []reply{{http.StatusOK, "What they should leave alone.", asText}}},
	"GET /setup":      {group: ofServer, says: "The page of the set-up link.", gives: page, fails: notFound},
	"/":               {group: ofServer, says: "The dashboard; what it loads has paths of its own.", gives: page, fails: []int{http.StatusNotFound, http.StatusMethodNotAllowed}},
}

var (
	page      = []reply{{http.StatusOK, "A page.", []media{{"text/html; charset=utf-8", nil}}}, {http.StatusNotModified, "As before.", nil}}
	readiness = []reply{{http.StatusOK, "Yes.", asText}, {http.StatusServiceUnavailable, "No: the reasons, one a line.", asText}}
)
