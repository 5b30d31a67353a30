DROP TABLE keysets;
DROP TABLE management_keys;
DROP TABLE accounts;
