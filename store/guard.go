package store

import (
	"context"
	"database/sql"
	_ "embed"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/eider-analytics/eider/store/event"
)

// A guard looks at every node of a statement as DuckDB has parsed it, and refuses
// what is not on a list: kinds of nodes, functions, table functions, tables. A
// name of a table is one of the views, or a common table expression where it is
// in scope: never anything that DuckDB would go and look for, such as a file.
type guard struct {
	read []string // the views that are named
}

// views are the tables that exist.
var views = []string{"events", "visits", "parts", "audit"}

//go:embed sql_functions.txt
var functionNames string

// functions are those that compute something from their arguments and nothing
// else: none reads a file, a setting or the catalog, or has an effect. repeat,
// printf and format are left out because they make a gigabyte of nothing, and the
// distances of texts because they take a minute for two thousand rows: DuckDB
// cannot be interrupted within those.
var functions = setOf(strings.Fields(strings.ToLower(functionNames)))

// tableFunctions are those that may stand in FROM.
var tableFunctions = setOf([]string{"range", "generate_series", "unnest", "json_each", "json_tree", "generate_subscripts"})

// nodes are the types of nodes of a parsed statement: tables, queries, what
// follows them, and expressions. Types whose names begin as in nodeFamilies are
// allowed as well.
var nodes = setOf(strings.Fields(`
	BASE_TABLE SUBQUERY JOIN TABLE_FUNCTION EXPRESSION_LIST EMPTY SHOW_REF PIVOT
	SELECT_NODE SET_OPERATION_NODE RECURSIVE_CTE_NODE CTE_NODE
	DISTINCT_MODIFIER LIMIT_MODIFIER LIMIT_PERCENT_MODIFIER ORDER_MODIFIER
	ASCENDING DESCENDING ORDER_DEFAULT
	ARRAY_EXTRACT ARRAY_SLICE ARRAY_CONSTRUCTOR STRUCT_EXTRACT CASE_EXPR COLLATE COLUMN_REF POSITIONAL_REFERENCE
	CONJUNCTION_AND CONJUNCTION_OR FUNCTION GROUPING_FUNCTION LAMBDA LAMBDA_REF STAR VALUE_CONSTANT
	UNBOUND_TYPE_INFO DECIMAL_TYPE_INFO STRING_TYPE_INFO LIST_TYPE_INFO STRUCT_TYPE_INFO ARRAY_TYPE_INFO
`))

var nodeFamilies = []string{"COMPARE_", "OPERATOR_", "WINDOW_"}

// plain is what the name of a common table expression looks like.
var plain = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, n := range names {
		set[n] = true
	}
	return set
}

// guardSQL refuses what is not one harmless SELECT, and returns the views it reads.
func guardSQL(ctx context.Context, conn *sql.Conn, query string) ([]string, error) {
	var text string
	if err := conn.QueryRowContext(ctx, "SELECT json_serialize_sql($1::VARCHAR)::VARCHAR", query).Scan(&text); err != nil {
		return nil, err
	}
	return guardTree([]byte(text))
}

// guardTree is guardSQL for a statement that json_serialize_sql has parsed.
func guardTree(text []byte) ([]string, error) {
	var tree struct {
		Error      bool             `json:"error"`
		Type       string           `json:"error_type"`
		Message    string           `json:"error_message"`
		Statements []map[string]any `json:"statements"`
	}
	if err := json.Unmarshal(text, &tree); err != nil {
		return nil, refuse("the statement is too deep")
	}
	switch {
	case tree.Error && tree.Type == "parser":
		return nil, refuse("%s", tree.Message)
	case tree.Error:
		return nil, refuse("only a statement that reads is allowed: SELECT, WITH, VALUES, FROM, DESCRIBE or SUMMARIZE")
	case len(tree.Statements) != 1:
		return nil, refuse("there are %d statements; send one", len(tree.Statements))
	}
	g := &guard{}
	err := g.any(tree.Statements[0], nil)
	return g.read, err
}

func refuse(format string, args ...any) error {
	return &event.QueryError{Message: fmt.Sprintf(format, args...)}
}

// any checks a value; scope are the common table expressions that can be named.
func (g *guard) any(v any, scope []string) error {
	switch v := v.(type) {
	case map[string]any:
		return g.node(v, scope)
	case []any:
		for _, x := range v {
			if err := g.any(x, scope); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *guard) node(n map[string]any, scope []string) error {
	kind, _ := n["type"].(string)
	if kind != "" && !nodes[kind] && !slices.ContainsFunc(nodeFamilies, func(f string) bool { return strings.HasPrefix(kind, f) }) {
		return refuse("%s is not allowed", strings.ToLower(strings.ReplaceAll(kind, "_", " ")))
	}
	if ctes, ok := n["cte_map"].(map[string]any); ok {
		var err error
		if scope, err = g.with(ctes, scope); err != nil {
			return err
		}
	}
	switch kind {
	case "BASE_TABLE":
		if err := g.table(n, scope); err != nil {
			return err
		}
	case "TABLE_FUNCTION":
		return g.tableFunction(n, scope)
	case "SHOW_REF":
		if n["query"] == nil {
			return refuse("SHOW is not allowed; there are the tables events, visits, parts and audit")
		}
	case "PIVOT":
		return g.pivot(n, scope)
	case "UNBOUND_TYPE_INFO":
		if qualified(n) {
			return refuse("there is no type %q", n["name"])
		}
	case "RECURSIVE_CTE_NODE":
		return g.recursive(n, scope)
	}
	if err := g.function(n); err != nil {
		return err
	}
	return g.children(n, scope)
}

func (g *guard) children(n map[string]any, scope []string, but ...string) error {
	for key, v := range n {
		if key == "cte_map" || slices.Contains(but, key) {
			continue
		}
		if err := g.any(v, scope); err != nil {
			return err
		}
	}
	return nil
}

// with checks common table expressions, each of which sees those before it, and
// returns the scope that sees them all.
func (g *guard) with(ctes map[string]any, scope []string) ([]string, error) {
	list, ok := ctes["map"].([]any)
	if !ok {
		return nil, refuse("WITH is not understood")
	}
	scope = slices.Clone(scope)
	for _, v := range list {
		cte, _ := v.(map[string]any)
		name, _ := cte["key"].(string)
		if name = strings.ToLower(name); !plain.MatchString(name) {
			return nil, refuse("%q is not a name for a WITH; use letters, digits and underscores", name)
		}
		if err := g.any(cte["value"], scope); err != nil {
			return nil, err
		}
		scope = append(scope, name)
	}
	return scope, nil
}

// recursive checks the body of a WITH RECURSIVE: its second half sees itself.
func (g *guard) recursive(n map[string]any, scope []string) error {
	name, _ := n["cte_name"].(string)
	if err := g.any(n["right"], append(slices.Clone(scope), strings.ToLower(name))); err != nil {
		return err
	}
	return g.children(n, scope, "right")
}

func (g *guard) table(n map[string]any, scope []string) error {
	name, _ := n["table_name"].(string)
	catalog, _ := n["catalog_name"].(string)
	schema, _ := n["schema_name"].(string)
	low := strings.ToLower(name)
	switch {
	case catalog != "" || schema != "" || n["at_clause"] != nil:
		return refuse("there is no table %q; there are events, visits, parts and audit", strings.Trim(catalog+"."+schema+"."+name, "."))
	case slices.Contains(scope, low):
		return nil
	case slices.Contains(views, low):
		if !slices.Contains(g.read, low) {
			g.read = append(g.read, low)
		}
		return nil
	}
	return refuse("there is no table %q; there are events, visits, parts and audit", name)
}

func (g *guard) tableFunction(n map[string]any, scope []string) error {
	f, _ := n["function"].(map[string]any)
	name, _ := f["function_name"].(string)
	if !tableFunctions[strings.ToLower(name)] || f["type"] != "FUNCTION" || qualified(f) {
		return refuse("the table function %q is not allowed", name)
	}
	if err := g.children(f, scope); err != nil {
		return err
	}
	return g.children(n, scope, "function")
}

// pivot refuses a PIVOT whose columns are looked up somewhere.
func (g *guard) pivot(n map[string]any, scope []string) error {
	pivots, _ := n["pivots"].([]any)
	for _, v := range pivots {
		if p, _ := v.(map[string]any); p["pivot_enum"] != "" {
			return refuse("PIVOT needs a list of values")
		}
	}
	return g.children(n, scope)
}

// function checks the name of a node that has one: a call or a window.
func (g *guard) function(n map[string]any) error {
	v, there := n["function_name"]
	if !there {
		return nil
	}
	name, _ := v.(string)
	if !functions[strings.ToLower(name)] || qualified(n) {
		return refuse("the function %q is not allowed", name)
	}
	if low := strings.ToLower(name); low == "lpad" || low == "rpad" {
		return padding(n)
	}
	return nil
}

// maxPadding is the longest text that lpad and rpad may make.
const maxPadding = 1000

// padding refuses what would make a gigabyte of nothing: a length that is not
// written out, or that is too long.
func padding(n map[string]any) error {
	args, _ := n["children"].([]any)
	if len(args) == 3 {
		length, _ := args[1].(map[string]any)
		value, _ := length["value"].(map[string]any)
		if n, ok := value["value"].(float64); ok && length["type"] == "VALUE_CONSTANT" && n <= maxPadding {
			return nil
		}
	}
	return refuse("lpad and rpad need a length that is a number of at most %d", maxPadding)
}

// qualified says whether a call or a type names another schema than that of the built-in
// functions and types.
func qualified(n map[string]any) bool {
	catalog, _ := n["catalog"].(string)
	schema, _ := n["schema"].(string)
	return catalog != "" && catalog != "system" || schema != "" && schema != "main"
}
