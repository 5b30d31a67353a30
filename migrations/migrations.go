// Package migrations holds the schema as golang-migrate pairs, NNNNNN_name.up.sql and
// NNNNNN_name.down.sql, embedded in the binary. Package schema applies them.
//
// A migration that was released is never edited. Each must leave a schema that the previous
// release can still work on, because replicas of both run side by side during an update.
package migrations

import "embed"

// FS holds every migration at its root.
//
//go:embed *.sql
var FS embed.FS
