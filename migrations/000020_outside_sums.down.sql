DROP TABLE outside_untold;
DROP TABLE outside_sums;
