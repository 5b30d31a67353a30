package accounts

import (
	"context"
	"fmt"
	"time"
)

// statisticsEvery is how often it is looked whether tables of snapshots have grown so much that Postgres must look at them
// anew, to choose how to read them.
const statisticsEvery = 5 * time.Second

// analyzeSnapshots has Postgres look anew at the tables of snapshots of which more rows were written than it knew of.
func (s *Service) analyzeSnapshots(ctx context.Context) error {
	if _, err := s.cfg.DB.Exec(ctx, `SELECT analyze_snapshots()`); err != nil {
		return fmt.Errorf("analyzing tables of snapshots: %w", err)
	}
	return nil
}
