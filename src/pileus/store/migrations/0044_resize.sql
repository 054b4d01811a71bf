-- A resize that is under way, or waits to be confirmed (JSON).
ALTER TABLE servers ADD COLUMN resize TEXT;
