-- The groups of a member's last sign-in, as received: for lists of members and for reviews, and to tell who
-- would be left when a member is blocked. No right of a session comes from here: that follows from the groups of
-- the session, which its mark seals. A trigger keeps them, so that they are those of the last sign-in whichever
-- program it was that did it.

ALTER TABLE members ADD COLUMN groups text[] NOT NULL DEFAULT '{}';

UPDATE members m SET groups = s.groups
FROM (SELECT DISTINCT ON (issuer, subject) issuer, subject, groups FROM sessions ORDER BY issuer, subject, created_at DESC) s
WHERE m.issuer = s.issuer AND m.subject = s.subject;

CREATE FUNCTION keep_member_groups() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    UPDATE public.members m SET groups = NEW.groups WHERE m.issuer = NEW.issuer AND m.subject = NEW.subject;
    RETURN NULL;
END;
$$;
REVOKE ALL ON FUNCTION keep_member_groups() FROM PUBLIC;
CREATE TRIGGER keep_member_groups AFTER INSERT ON sessions FOR EACH ROW EXECUTE FUNCTION keep_member_groups();

-- The list of members is in the order of their names.
CREATE INDEX members_by_name ON members (lower(name) COLLATE "C", issuer, subject);
