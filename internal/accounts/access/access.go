// Package access decides rights.
package access

// Configured holds the grants that configuration gives.
type Configured struct {
	AdminGroups    []string
	AdminEmails    []string // verified only
	AuditorGroups  []string
	OperatorGroups []string
	ViewerGroups   []string
}
