package fault

// Points are all the moments, sorted. A crash test that does not reach one of
// them fails.
var Points = []string{}
