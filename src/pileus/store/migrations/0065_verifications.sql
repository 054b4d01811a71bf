-- What `verify` found when it last looked in the background: a row for each cluster, by its leader.
CREATE TABLE verifications (
  cluster TEXT PRIMARY KEY, at DOUBLE PRECISION NOT NULL, seconds DOUBLE PRECISION NOT NULL, invariants BIGINT NOT NULL, breaches TEXT NOT NULL,
  note TEXT NOT NULL
);
