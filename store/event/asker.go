package event

import "context"

type askerKey struct{}

// WithAsker returns a context of a question by an asker: the id of a key, or
// whatever else tells those apart who ask. Askers take turns.
func WithAsker(ctx context.Context, asker string) context.Context {
	return context.WithValue(ctx, askerKey{}, asker)
}

// Asker returns who asks; "" if nobody has said so.
func Asker(ctx context.Context) string {
	asker, _ := ctx.Value(askerKey{}).(string)
	return asker
}
