DROP TABLE form_tokens;
DROP FUNCTION forget_sessions();
DROP TABLE sessions;
DROP FUNCTION refuse_change_of_ended();
DROP TABLE members;
