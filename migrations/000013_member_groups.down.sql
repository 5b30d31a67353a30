DROP INDEX members_by_name;
DROP TRIGGER keep_member_groups ON sessions;
DROP FUNCTION keep_member_groups();
ALTER TABLE members DROP COLUMN groups;
