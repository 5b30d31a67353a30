DROP TABLE long_work;
