"""What one tenant must not be able to do to another, or to the host: docs/security/isolation.md says what is promised."""
