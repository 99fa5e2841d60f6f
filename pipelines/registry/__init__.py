"""Versions, the champion log, decisions, promotion, rollback."""
