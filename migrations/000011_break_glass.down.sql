ALTER TABLE sessions DROP COLUMN prompted;
DROP TABLE break_glass_links;
DROP FUNCTION refuse_change_of_used();
