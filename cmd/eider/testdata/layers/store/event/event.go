// Package event breaks the drawing: TestLayersControl must see it.
package event

import _ "github.com/eider-analytics/eider/server"
