package sandbox

import (
	"strings"
)

// mergeMask does what the gateway does for an update with a mask: it reads the resource as it is,
// takes the masked fields from the request, and goes on with the whole. Without a mask the
// request replaces the resource, and what it omits is dropped.
//
// The read-only state of a cluster is left out before validation either way: clients send it back
// as they read it, and it may be one the rules would refuse, such as an endpoint without a URL.
func (r *request) mergeMask() error {
	if in := r.in.sub("cluster"); r.op.Name == "UpdateCluster" && in.has("state") {
		in = in.clone()
		delete(in, "state")
		r.in = r.in.with("cluster", in)
	}
	paths, ok := r.in["update_mask"].([]string)
	if !ok || len(paths) == 0 {
		return nil
	}
	var name, of string
	var stored msg
	switch r.op.Name {
	case "UpdateCluster":
		name, of = "cluster", "cluster.v1.Cluster"
		c := r.account.clusters[strings.ToLower(r.in.sub(name).str("id"))]
		if c == nil {
			return notFound("cluster", r.in.sub(name).str("id"))
		}
		stored = c.resource(r.account.id, r.now, r.catalogue)
		delete(stored, "state")
	case "UpdateAccount":
		name, of, stored = "account", "account.v1.Account", r.account.resource
	case "UpdateBackupSchedule":
		name, of = "backup_schedule", "cluster.backup.v1.BackupSchedule"
		sch, err := r.schedule(r.in.sub(name).str("id"))
		if err != nil {
			return err
		}
		stored = sch.message(r.account)
	default:
		return refuse(codeInvalidArgument, "%s takes no update mask", r.op.Name)
	}
	t, merged := r.schema.messages[of], stored
	for _, path := range paths {
		var err error
		if merged, err = t.merge(merged, r.in.sub(name), path); err != nil {
			return err
		}
	}
	r.in = r.in.with(name, merged)
	return nil
}

// merge returns dst with the field at path taken from src. A path goes through messages, not into
// lists.
func (t *messageType) merge(dst, src msg, path string) (msg, error) {
	first, rest, nested := strings.Cut(path, ".")
	f := t.byName[first]
	if f == nil || f.name != first {
		return nil, invalidField("update_mask", "invalid path %q for %s", path, t.name)
	}
	out := dst.clone()
	if !nested {
		if v, ok := src[f.name]; ok {
			out[f.name] = v
		} else {
			delete(out, f.name)
		}
		return out, nil
	}
	if f.message == nil || f.repeated {
		return nil, invalidField("update_mask", "invalid path %q for %s", path, t.name)
	}
	sub, err := f.message.merge(dst.sub(f.name), src.sub(f.name), rest)
	if err != nil {
		return nil, err
	}
	if len(sub) == 0 && !src.has(f.name) && !dst.has(f.name) {
		return out, nil
	}
	out[f.name] = sub
	return out, nil
}
