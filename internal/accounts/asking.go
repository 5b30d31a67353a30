package accounts

import (
	"context"

	"github.com/google/uuid"

	"quartermaster/internal/audit"
)

// Enter lets a member in who holds any right at all. Everybody else is refused with *ForbiddenError, which is recorded
// as a refusal of the act that the address is about. What it was to be done to is not looked at, so the
// refusal tells nobody whether that exists.
func (s *Service) Enter(ctx context.Context, by audit.Actor, act Act) error {
	if !s.rights(by).Empty() {
		return nil
	}
	missing := act.Needs.String()
	s.denied(ctx, by, act, installation(act.TargetKind), missing)
	return &ForbiddenError{Act: act.Name, Missing: missing}
}

// AskCluster reads a cluster for a page that asks before an act. Who may not do the act is refused
// here, and recorded, as the act itself would; *ConflictError when it is not offered now. That a fresh
// sign-in is missing is no refusal yet: the act's offer says so.
func (s *Service) AskCluster(ctx context.Context, by audit.Actor, act Act, ref ClusterRef) (ClusterDetail, error) {
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	// Before it is read, so that a refusal is on record as one of what was asked for.
	if err := s.permit(ctx, by, act, known.on); err != nil {
		return ClusterDetail{}, err
	}
	d, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	return d, conflictUnless(d.Offers[act.Name])
}

// AskAccount is AskCluster for an act on an account.
func (s *Service) AskAccount(ctx context.Context, by audit.Actor, act Act, id uuid.UUID) (AccountDetail, error) {
	account, err := accountByID(ctx, s.cfg.DB, id, false)
	if err != nil {
		return AccountDetail{}, err
	}
	if err := s.permit(ctx, by, act, accountTarget(account.ref())); err != nil {
		return AccountDetail{}, err
	}
	d, err := s.Account(ctx, by, id)
	if err != nil {
		return AccountDetail{}, err
	}
	return d, conflictUnless(d.Offers[act.Name])
}

// AskCreate makes the token of a form that adds an account, for those who may add one. Others are
// refused, and that is recorded.
func (s *Service) AskCreate(ctx context.Context, by audit.Actor) (formToken string, err error) {
	if err := s.authorize(ctx, by, ActAccountCreate, installation(KindAccount)); err != nil {
		return "", err
	}
	return s.FormToken(ctx, by, ActAccountCreate.Name)
}

// AskVerify lets those pass who may have the log checked. Others are refused, and that is recorded.
func (s *Service) AskVerify(ctx context.Context, by audit.Actor) error {
	return s.authorize(ctx, by, ActAuditVerify, installation(KindAudit))
}

// AskExport lets those pass who may take the log away, or a part of it; whole says which. Others are refused, and
// that is recorded.
func (s *Service) AskExport(ctx context.Context, by audit.Actor) (whole bool, err error) {
	reach := s.exportReach(by)
	if !reach.Offered {
		if err := s.permit(ctx, by, ActAuditExport, installation(KindAudit)); err != nil {
			return false, err
		}
	}
	return reach.Whole, s.demandFresh(ctx, by, ActAuditExport, installation(KindAudit))
}

func conflictUnless(o Offer) error {
	if o.Offered {
		return nil
	}
	return &ConflictError{Reason: o.Reason}
}
