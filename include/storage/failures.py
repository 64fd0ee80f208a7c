"""What a step about one tenant may end in, while the same step goes on for the others."""

from __future__ import annotations

from typing import Final

import psycopg

from include.errors import TenantryError

TENANT_ERRORS: Final = (TenantryError, psycopg.Error)
