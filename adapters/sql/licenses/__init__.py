"""License pools and assignments."""
