// Package vault seals secrets.
package vault

// Vault seals and opens.
type Vault struct{}
