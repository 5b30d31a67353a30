DROP TABLE form_tokens;
DROP TABLE sessions;
DROP TABLE members;
