DROP INDEX clusters_by_labels;
DROP TRIGGER refuse_session_of_blocked ON sessions;
DROP FUNCTION refuse_session_of_blocked();
DROP TRIGGER count_rights_change ON accounts;
DROP TABLE rights_version, account_standings, member_standings, grants, roles;
DROP FUNCTION refuse_change_of_rights();
DROP FUNCTION count_rights_change();
DELETE FROM keysets WHERE purpose = 'rights';
