-- Of what is written in versions the highest counts, and one that does not verify takes away. Whoever has the
-- console's database password could write the highest version there is, which no row can follow: a block that
-- nobody lifts any more, a role or an account that nobody mends. So a version is at most one more than the last,
-- whoever writes it. A lower one that is taken stays the key's to refuse: that is how two changes at once are told.

CREATE FUNCTION refuse_version_out_of_turn() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    last integer;
BEGIN
    CASE TG_TABLE_NAME
    WHEN 'member_standings' THEN
        SELECT m.version INTO last FROM public.member_standings m WHERE m.issuer = NEW.issuer AND m.subject = NEW.subject ORDER BY m.version DESC LIMIT 1;
    WHEN 'account_standings' THEN
        SELECT a.version INTO last FROM public.account_standings a WHERE a.account_id = NEW.account_id ORDER BY a.version DESC LIMIT 1;
    WHEN 'roles' THEN
        SELECT r.version INTO last FROM public.roles r WHERE r.id = NEW.id ORDER BY r.version DESC LIMIT 1;
    END CASE;
    IF NEW.version::bigint > coalesce(last, 0)::bigint + 1 THEN
        RAISE EXCEPTION 'version % of % is not the next one after %', NEW.version, TG_TABLE_NAME, coalesce(last, 0)
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_TABLE_NAME || '_version_in_turn', TABLE = TG_TABLE_NAME;
    END IF;
    RETURN NEW;
END;
$$;
REVOKE ALL ON FUNCTION refuse_version_out_of_turn() FROM PUBLIC;

CREATE TRIGGER refuse_version_out_of_turn BEFORE INSERT ON member_standings FOR EACH ROW EXECUTE FUNCTION refuse_version_out_of_turn();
CREATE TRIGGER refuse_version_out_of_turn BEFORE INSERT ON account_standings FOR EACH ROW EXECUTE FUNCTION refuse_version_out_of_turn();
CREATE TRIGGER refuse_version_out_of_turn BEFORE INSERT ON roles FOR EACH ROW EXECUTE FUNCTION refuse_version_out_of_turn();

-- Whether an identity provider tells when people signed in: asked after each fresh sign-in that came back without.
CREATE INDEX sessions_auth_time_told ON sessions (issuer) WHERE auth_time IS NOT NULL AND NOT prompted;
