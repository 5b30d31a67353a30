DROP TABLE refresh;
DROP TABLE clusters;
