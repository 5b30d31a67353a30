package accounts

import (
	"context"

	"github.com/google/uuid"

	"quartermaster/internal/accounts/access"
	"quartermaster/internal/audit"
)

// Enter lets a member in who holds any right at all. Everybody else is refused with
// *ForbiddenError, which is recorded as a refusal to read clusters.
func (s *Service) Enter(ctx context.Context, by audit.Actor) error {
	if !s.rights(by).Empty() {
		return nil
	}
	s.denied(ctx, by, ActClusterRead, installation(KindCluster), access.ReadClusters)
	return &ForbiddenError{Act: ActClusterRead.Name, Missing: access.ReadClusters}
}

// AskCluster reads a cluster for a page that asks before an act. Who may not do the act is refused
// here, and recorded, as the act itself would; *ConflictError when it is not offered now. That a fresh
// sign-in is missing is no refusal yet: the act's offer says so.
func (s *Service) AskCluster(ctx context.Context, by audit.Actor, act Act, ref ClusterRef) (ClusterDetail, error) {
	d, err := s.Cluster(ctx, by, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	known, err := s.loadCluster(ctx, ref)
	if err != nil {
		return ClusterDetail{}, err
	}
	if err := s.permit(ctx, by, act, known.on); err != nil {
		return ClusterDetail{}, err
	}
	return d, conflictUnless(d.Offers[act.Name])
}

// AskAccount is AskCluster for an act on an account.
func (s *Service) AskAccount(ctx context.Context, by audit.Actor, act Act, id uuid.UUID) (AccountDetail, error) {
	d, err := s.Account(ctx, by, id)
	if err != nil {
		return AccountDetail{}, err
	}
	if err := s.permit(ctx, by, act, accountTarget(d.ref())); err != nil {
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

// AskExport lets those pass who may take the log away. Others are refused, and that is recorded.
func (s *Service) AskExport(ctx context.Context, by audit.Actor) error {
	return s.authorize(ctx, by, ActAuditExport, installation(KindAudit))
}

// ExportOffer says whether this member may take the log away, and if not, why.
func (s *Service) ExportOffer(by audit.Actor) Offer {
	reason := s.notOffered(by, ActAuditExport, installation(KindAudit), "", ManagementKey{})
	return Offer{
		Act: ActAuditExport.Name, Offered: reason == "", Reason: reason,
		StepUp: s.stepUpDue(by, ActAuditExport, installation(KindAudit)),
	}
}

func conflictUnless(o Offer) error {
	if o.Offered {
		return nil
	}
	return &ConflictError{Reason: o.Reason}
}
