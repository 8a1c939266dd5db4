package answer

// SizeOf is sizeOf.
var SizeOf = sizeOf
