// Package migrations holds the schema as golang-migrate pairs, NNNNNN_name.up.sql and
// NNNNNN_name.down.sql, embedded in the binary. Package schema applies them.
//
// A migration that was released is never edited. Each must leave a schema that the previous
// release can still work on, because replicas of both run side by side during an update, and because
// starting the previous release again is the way back. One that takes away what older programs
// use raises schema_compatibility.oldest_program in the same file.
package migrations

import "embed"

// FS holds every migration at its root.
//
//go:embed *.sql
var FS embed.FS
