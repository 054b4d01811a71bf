-- What a domain has of its own configuration: one row for each option. A secret's value is encrypted.
CREATE TABLE domain_options (
  domain_id TEXT NOT NULL, section TEXT NOT NULL, option TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY (domain_id, section, option)
);
