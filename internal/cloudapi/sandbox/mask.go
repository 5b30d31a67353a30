package sandbox

import (
	"slices"
	"strings"
)

// validate checks a request by the rules as it comes, with all that is read-only in it. With an update mask it then does what the
// gateway does: it reads the resource as it is, takes the masked fields from the request, and goes on with the whole, which is checked
// again. What the request leaves out breaks no rule where the resource has it. Without a mask the request replaces the resource, and
// what it omits is dropped.
func (r *request) validate(t *messageType) error {
	broken := r.validator.validate(t, r.in)
	paths, ok := r.in["update_mask"].([]string)
	if !ok || len(paths) == 0 {
		return brokenRules(broken)
	}
	name, of, stored, err := r.stored()
	if err != nil {
		return err
	}
	broken = slices.DeleteFunc(broken, func(v violation) bool {
		path, within := strings.CutPrefix(v.Field, name+".")
		return within && !reaches(r.in.sub(name), path) && reaches(stored, path)
	})
	if len(broken) > 0 {
		return invalid(broken)
	}
	resource, merged := r.schema.messages[of], stored
	for _, path := range paths {
		if merged, err = resource.merge(merged, r.in.sub(name), path); err != nil {
			return err
		}
	}
	r.in = r.in.with(name, merged)
	return brokenRules(r.validator.validate(t, r.in))
}

func brokenRules(broken []violation) error {
	if len(broken) == 0 {
		return nil
	}
	return invalid(broken)
}

// stored finds the resource that an update with a mask is about, the field of the request that has it, and its type.
func (r *request) stored() (name, of string, stored msg, err error) {
	switch r.op.Name {
	case "UpdateCluster":
		c := r.account.clusters[strings.ToLower(r.in.sub("cluster").str("id"))]
		if c == nil {
			return "", "", nil, notFound("cluster", r.in.sub("cluster").str("id"))
		}
		stored := c.resource(r.account.id, r.now, r.catalogue)
		delete(stored, "state") // nobody updates it, and it may have no URL yet
		return "cluster", "cluster.v1.Cluster", stored, nil
	case "UpdateAccount":
		return "account", "account.v1.Account", r.account.resource, nil
	case "UpdateBackupSchedule":
		sch, err := r.schedule(r.in.sub("backup_schedule").str("id"))
		if err != nil {
			return "", "", nil, err
		}
		return "backup_schedule", "cluster.backup.v1.BackupSchedule", sch.message(r.account), nil
	}
	return "", "", nil, refuse(codeInvalidArgument, "%s takes no update mask", r.op.Name)
}

// reaches reports whether a message has what a path of a violation leads to. Items of lists it takes as there.
func reaches(m msg, path string) bool {
	first, rest, nested := strings.Cut(path, ".")
	if strings.Contains(first, "[") {
		return true
	}
	if !nested {
		return m.has(first)
	}
	return m.has(first) && reaches(m.sub(first), rest)
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
