package accounts

import (
	"testing"

	"quartermaster/internal/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }
