DROP INDEX sessions_auth_time_told;
DROP TRIGGER refuse_version_out_of_turn ON roles;
DROP TRIGGER refuse_version_out_of_turn ON account_standings;
DROP TRIGGER refuse_version_out_of_turn ON member_standings;
DROP FUNCTION refuse_version_out_of_turn();
