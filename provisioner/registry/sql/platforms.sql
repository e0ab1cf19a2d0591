-- name: get
SELECT cell, spec, outputs, fingerprint, failure, updated_at FROM registry.platform WHERE cell = %(cell)s
-- name: all
SELECT cell, spec, outputs, fingerprint, failure, updated_at FROM registry.platform ORDER BY cell
-- name: record_spec
INSERT INTO registry.platform (cell, spec) VALUES (%(cell)s, %(spec)s)
ON CONFLICT (cell) DO UPDATE SET spec = excluded.spec, updated_at = now()
-- name: record_outputs
UPDATE registry.platform SET outputs = %(outputs)s, fingerprint = %(fingerprint)s, failure = NULL, updated_at = now()
 WHERE cell = %(cell)s
-- name: record_failure
UPDATE registry.platform SET failure = %(failure)s, fingerprint = NULL, updated_at = now() WHERE cell = %(cell)s
-- name: clear_failure
UPDATE registry.platform SET failure = NULL WHERE cell = %(cell)s
