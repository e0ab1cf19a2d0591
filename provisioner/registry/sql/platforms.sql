-- name: get
SELECT cell, spec, outputs, fingerprint, updated_at FROM registry.platform WHERE cell = %(cell)s
-- name: all
SELECT cell, spec, outputs, fingerprint, updated_at FROM registry.platform ORDER BY cell
-- name: record_spec
INSERT INTO registry.platform (cell, spec) VALUES (%(cell)s, %(spec)s)
ON CONFLICT (cell) DO UPDATE SET spec = excluded.spec, updated_at = now()
-- name: record_outputs
UPDATE registry.platform SET outputs = %(outputs)s, fingerprint = %(fingerprint)s, updated_at = now() WHERE cell = %(cell)s
